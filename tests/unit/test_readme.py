import re

import pytest
from places import ROOT

from agent.cli.parser import parser

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!http|#)[^)]+)\)", README))
def test_what_it_links_to_is_there(target):
    assert (ROOT / target).exists()


def test_every_command_it_names_exists_and_every_command_is_named():
    (commands,) = (action for action in parser()._actions if action.metavar == "COMMAND")
    named = set(re.findall(r"`sensor-agent (\w+)", README))
    assert named == set(commands.choices)


@pytest.mark.parametrize("folder", ["agent", "hw", "central", "deploy", "tests"])
def test_every_folder_is_explained(folder):
    assert f"`{folder}/`" in README


@pytest.mark.parametrize("path", re.findall(r"`((?:agent|hw|central|tests|deploy)/\S+)`", README))
def test_every_place_it_names_is_there(path):
    assert (ROOT / path).exists()


def test_every_picture_has_words():
    pictures = re.findall(r"!\[([^\]]*)\]", README)
    assert pictures
    assert all(len(words) > 20 for words in pictures)

"""The man page and the completions have what the parser has."""

import argparse
import re

import pytest
from places import ROOT
from scripts import load_script

from agent.cli.parser import parser

manual = load_script(ROOT / "deploy" / "manual.py")
TEXTS = {path.as_posix(): text for path, text in manual.outputs("2026-11-26").items()}
MAN = TEXTS["share/man/man1/sensor-agent.1"]


def parsers(group, *words):
    """Yield each command's words and its parser."""
    yield words, group
    for action in group._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, *words, name)


COMMANDS = dict(parsers(parser()))


def options(group):
    shown = [action for action in group._actions if action.help != argparse.SUPPRESS]
    return [flag for action in shown for flag in action.option_strings]


@pytest.mark.parametrize("words", [words for words in COMMANDS if words])
def test_the_man_page_has_each_command_with_its_options(words):
    if "COMMAND" in {action.metavar for action in COMMANDS[words]._actions}:
        return  # Only its commands can be used, and they have sections of their own.
    name = re.escape("sensor-agent " + " ".join(words)).replace("\\-", "\\\\-")
    section = re.search(rf"^\.SS {name}\b[^\n]*\n(.*?)^\.S[SH] ", MAN, re.DOTALL | re.MULTILINE)
    assert section
    for flag in set(options(COMMANDS[words])) - {"-h", "--help"}:
        assert "\\fB" + flag.replace("-", "\\-") + "\\fR" in section[1]


@pytest.mark.parametrize("shell", [path for path in TEXTS if "man1" not in path])
def test_the_completions_have_every_command_and_option(shell):
    text = TEXTS[shell]
    for words, group in COMMANDS.items():
        assert all(word in text for word in words)
        for flag in options(group):
            name = f"-l {flag[2:]}" if "fish" in shell and flag.startswith("--") else flag[1:]
            assert name in text


def test_the_paths_are_those_of_debian_below_usr():
    assert list(TEXTS) == [
        "share/man/man1/sensor-agent.1",
        "share/bash-completion/completions/sensor-agent",
        "share/zsh/vendor-completions/_sensor-agent",
        "share/fish/vendor_completions.d/sensor-agent.fish",
    ]


def test_text_that_means_something_to_roff_and_zsh_is_escaped():
    assert manual._roff(".a\\b-c") == "\\&.a\\eb\\-c"
    assert manual._zsh_text("a:[b]'c") == "a\\:\\[b\\]'\\''c"
    assert manual._quoted("it's") == "'it\\'s'"

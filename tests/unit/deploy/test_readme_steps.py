"""The first steps in README.md can be typed as they stand, in the order of the text."""

import re
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
URL = SETUP["metadata"]["url"]
ACTIVATED = README.index("\n. .venv/bin/activate\n")
INSTALLED = README.index("\nmake install ")
REMOVED = README.index("\nsudo apt purge sensor-agent")
SUPPORTED = re.search(r"^supported='(.*)'$", (ROOT / "deploy/venv.sh").read_text(), re.MULTILINE)

# Every fenced line without a language, and every inline code span, with its position.
FENCED = [
    (match.start(1) + line.start(), line[0])
    for match in re.finditer(r"^```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    if match[0].startswith("```\n")
    for line in re.finditer(r"\S.*", match[1])
]
INLINE = [(span.start(), span[1]) for span in re.finditer(r"`([^`\n]+)`", README)]


def test_readme_clones_the_address_in_setup_cfg_and_enters_the_clone():
    lines = [line for _, line in FENCED]
    clone = lines.index(f"git clone {URL}")
    assert lines[clone + 1] == f"cd {URL.rpartition('/')[2].removesuffix('.git')}"
    assert lines[clone + 2] == "make demo"
    assert README.count("git clone") == 1


def test_the_address_stands_in_setup_cfg_and_readme_only():
    folders = ("agent", "central", "hw", "deploy", "docs", ".ci")
    files = [*ROOT.glob("*.*"), *(path for name in folders for path in (ROOT / name).rglob("*"))]
    naming = {
        path.name
        for path in files
        if path.is_file() and URL.encode() in path.read_bytes() and "egg-info" not in str(path)
    }
    assert naming == {"README.md", "setup.cfg"}


def test_a_fresh_debian_gets_all_it_lacks_in_one_line_before_the_first_command():
    first = FENCED[0][1]
    assert first.startswith("sudo apt update && sudo apt install ")
    assert {"git", "make", "python3-venv"} <= set(first.split())


@pytest.mark.parametrize(("position", "command"), FENCED)
def test_fenced_commands_begin_with_a_program_that_is_installed_by_then(position, command):
    program = command.removeprefix("sudo ").split()[0]
    assert program in {"apt", "git", "cd", "make", "sh", ".", "rm", "sensor-agent"}
    if program == "sensor-agent":
        assert position > ACTIVATED


@pytest.mark.parametrize(
    ("position", "command"),
    [(position, text) for position, text in INLINE if re.match(r"(sudo )?sensor-agent ", text)],
)
def test_no_command_is_used_before_the_environment_is_activated(position, command):
    assert position > ACTIVATED


@pytest.mark.parametrize(
    ("position", "command"),
    [
        (at, text)
        for at, text in [*FENCED, *INLINE]
        if re.match("sudo (sensor-agent|sys|jour)", text)
    ],
)
def test_the_service_is_used_only_while_it_is_installed(position, command):
    assert INSTALLED < position < REMOVED


@pytest.mark.parametrize("name", ["README.md", "docs/install.md", "docs/doctor.md"])
def test_the_journal_is_read_with_sudo(name):
    commands = re.findall(r"`([^`\n]*journalctl -[^`\n]*)`", (ROOT / name).read_text())
    assert commands
    assert all(command.startswith("sudo ") for command in commands)


@pytest.mark.parametrize(
    ("version", "is_supported"),
    [((3, 10, 9), False), ((3, 11, 0), True), ((3, 14, 8), True), ((3, 15, 0), False)],
)
def test_the_setup_takes_the_versions_that_setup_cfg_names(monkeypatch, version, is_supported):
    assert SUPPORTED
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", version)
        with pytest.raises(SystemExit) as ended:
            exec(SUPPORTED[1], {})  # noqa: S102 - the line that venv.sh gives to Python.
    assert (not ended.value.code) is is_supported
    name = f"Programming Language :: Python :: {version[0]}.{version[1]}"
    assert (name in SETUP["metadata"]["classifiers"].split("\n")) is is_supported


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "Makefile", "deploy/venv.sh"])
def test_every_text_names_the_same_versions(name):
    assert set(re.findall(r"Python 3\.\d+ to 3\.\d+", (ROOT / name).read_text())) == {
        "Python 3.11 to 3.14"
    }

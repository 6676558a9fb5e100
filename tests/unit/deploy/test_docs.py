"""The pages in docs/ agree with the code. That they can be built is tested by `make docs`."""

import re
import shlex
from configparser import ConfigParser

import pytest
from pages import PAGES, code_lines
from places import ROOT
from scripts import load_script

from agent.cli.parser import parser

DOCS = ROOT / "docs"
# What stands for something else in the commands of the pages, and a value to try them with.
STAND_INS = {"FILE": "x.toml", "N": "1", "ADDRESS": "127.0.0.1", "DEVICE": "pi-1", "ID": "hub"}


generate = load_script(DOCS / "generate.py")


def everywhere(pattern):
    """Return every match in the pages, as parameters of a test with the page in its name."""
    return [
        pytest.param(match[1], id=f"{page}:{match[1]}")
        for page, text in PAGES.items()
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [pytest.param(path, text, id=path.name) for path, text in generate.outputs().items()],
)
def test_what_follows_from_the_code_is_current(path, text):
    assert path.read_text(encoding="utf-8") == text, "Run: .venv/bin/python docs/generate.py"


def test_the_way_of_a_reading_names_code_that_exists():
    assert generate.missing_places() == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert set(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)) == pages


def commands():
    """Return every `sensor-agent ...` in a code block or code span, as parameters of a test."""
    for page, text in PAGES.items():
        for code in code_lines(text):
            if match := re.match(r" *(?:\w+=\S+ |sudo )*(sensor-agent [a-z-][^|\\]*)$", code):
                yield pytest.param(match[1], id=f"{page}:{match[1]}")


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_in_the_pages_is_accepted(command):
    words = [STAND_INS.get(word, word) for word in shlex.split(command, comments=True)]
    words = words[1 : words.index(">") if ">" in words else None]
    if "..." in words:
        words.remove("...")
        words[1:1] = ["on"]
    if {"-h", "--help"} & set(words):
        words.remove("--help")
    if words:
        parser().parse_args(words)


def test_python_is_called_with_its_directory():
    programs = re.findall(r"([^\s`]*(?:python[0-9.]*|pip|pytest)) -\w", "".join(PAGES.values()))
    assert set(programs) <= {".venv/bin/python"}


def test_every_command_is_explained():
    (commands,) = (action for action in parser()._actions if action.metavar == "COMMAND")
    named = re.findall(r"^\| `sensor-agent (\w+)", PAGES["docs/commands.md"], re.MULTILINE)
    assert set(named) == set(commands.choices or ())


@pytest.mark.parametrize("package", ["agent", "hw", "central"])
def test_every_folder_is_explained(package):
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    row = rf"^\| `{package}/(\w+)/` \|"
    assert set(re.findall(row, PAGES["docs/architecture.md"], re.MULTILINE)) == folders


# Outside a checkout, as on PyPI, pictures are found only by an absolute address.
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
FILES = f"{SETUP['metadata']['url'].removesuffix('.git')}/raw/main/"


def test_the_readmes_pictures_have_the_address_of_the_project():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", PAGES["README.md"])
    assert pictures
    assert all(picture.startswith(FILES) for picture in pictures)


# Those in docs/ are checked when the documentation is built.
@pytest.mark.parametrize(
    ("target", "anchor"), re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", PAGES["README.md"])
)
def test_every_link_of_the_readme_leads_somewhere(target, anchor):
    path = ROOT / target.removeprefix(FILES)
    text = PAGES["README.md"] if not target else path.read_bytes().decode(errors="replace")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert not anchor or anchor[1:] in slugs


@pytest.mark.parametrize("path", everywhere(r"`((?:agent|hw|central|tests|deploy|docs)/[^\s`]*)`"))
def test_every_file_that_a_page_names_exists(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", everywhere(r"`make ([a-z0-9-]+)[^`]*`"))
def test_every_make_target_that_a_page_names_exists(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("label", re.findall(r"\*\*([^*\n]+)\*\*", PAGES["docs/tutorial.md"]))
def test_every_label_in_the_tutorial_is_on_the_page(label):
    console = ROOT / "central" / "console"
    model = ROOT / "agent" / "device" / "dtmi"
    files = [*console.rglob("*.js"), *console.rglob("*.html"), *console.rglob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in [*files, *model.rglob("*.json")]]
    assert label == "demo" or any(re.search(rf"[\">]{label}[\"<]", text) for text in texts)


@pytest.mark.parametrize("words", everywhere(r"!\[([^\]]*)\]"))
def test_every_picture_has_a_description(words):
    assert len(words) > 20


@pytest.mark.parametrize("address", everywhere(r"(https?://[^\s>)\]`\"']+)"))
def test_no_punctuation_touches_an_address(address):
    assert not re.search(r"[.,;:!?]$", address)

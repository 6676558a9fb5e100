"""The man page and the completions, in the programs that use them."""

import os
import subprocess
import sys

import pytest
from optional import need_program
from places import ROOT


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    """Write the files as a package would, and return the directory `share`."""
    directory = tmp_path_factory.mktemp("usr")
    subprocess.run([sys.executable, ROOT / "deploy" / "manual.py", directory], check=True)
    return directory / "share"


def run(*command, **options):
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, **options
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_the_date_is_that_of_the_source(tmp_path):
    for name in ("one", "two"):
        run(
            sys.executable, ROOT / "deploy" / "manual.py", tmp_path / name,
            env=os.environ | {"SOURCE_DATE_EPOCH": "86400"},
        )  # fmt: skip
    pages = [(tmp_path / name / "share/man/man1/sensor-agent.1") for name in ("one", "two")]
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert ' 1 1970-01-02 "' in pages[0].read_text()


def test_man_shows_the_page_without_warnings(share):
    need_program("man", package="man-db")
    page = share / "man" / "man1" / "sensor-agent.1"
    environ = os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANROFFOPT": "-ww"}
    shown = run("man", "--warnings", "--local-file", page, env=environ)
    assert "sensor-agent config apply" in shown
    assert "--fake-hw" in shown


COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_sensor_agent
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["con"], ["config"]),
        (["config", ""], ["check", "apply", "example", "-h", "--help"]),
        (["config", "apply", "--c"], ["--config"]),
        (["led", "bl"], ["blink"]),
        (["led", "--json", "o"], ["on", "off"]),
        (["model", "--unit", "f"], ["fahrenheit"]),
        (["model", "--unit", "=", "f"], ["fahrenheit"]),
        (["read", "--config", "a f"], ["a file.toml"]),
        (["read", "--config", "=", "a f"], ["a file.toml"]),
        (["read", "--config", "a file.toml", "--j"], ["--json"]),
        (["read", "--count", ""], [""]),
        (["central", "--data", "a"], ["a directory"]),
        (["check", "--report", "run", "--fake"], ["--fake-hw"]),
    ],
)
def test_bash_completes(share, tmp_path, typed, completed):
    bash = need_program("bash", package="bash")
    (tmp_path / "a file.toml").touch()
    (tmp_path / "a directory").mkdir()
    script = share / "bash-completion" / "completions" / "sensor-agent"
    said = run(bash, "--norc", "-c", COMPLETE, "bash", script, "sensor-agent", *typed, cwd=tmp_path)
    assert said.splitlines() == completed


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("con", ["config"]),
        ("config ", ["apply", "check", "example"]),
        ("config apply --c", ["--config"]),
        ("led bl", ["blink"]),
        ("read --config x --j", ["--json"]),
        ("model --unit f", ["fahrenheit"]),
    ],
)
def test_fish_completes(share, tmp_path, typed, completed):
    fish = need_program("fish", package="fish")
    script = share / "fish" / "vendor_completions.d" / "sensor-agent.fish"
    said = run(
        *(fish, "--no-config", "-c", 'source $argv[1]; complete -C "sensor-agent $argv[2]"'),
        *(script, typed),
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    assert [line.partition("\t")[0] for line in said.splitlines()] == completed


def test_zsh_reads_the_completion(share):
    zsh = need_program("zsh", package="zsh")
    script = share / "zsh" / "vendor-completions" / "_sensor-agent"
    run(zsh, "-f", "-n", script)
    # _arguments checks its specifications when it is called; it cannot be called outside a widget.
    assert script.read_text().startswith("#compdef sensor-agent\n")

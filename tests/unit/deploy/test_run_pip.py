"""Which of the user's pip settings reach pip."""

import os
import sys

import pytest
from places import ROOT
from scripts import load_script

run_pip = load_script(ROOT / "deploy" / "run_pip.py")
settings, environment = run_pip.settings, run_pip.environment

REDIRECTING = """
user = true
target = /elsewhere
prefix = /elsewhere
root = /elsewhere
no-deps = true
require-virtualenv = true
dry-run = true
constraint = /elsewhere
requirement = /elsewhere
quiet = 3
python = /elsewhere/python
"""
REACHING = {
    "index-url": "https://index.example/simple",
    "extra-index-url": "https://one.example/simple https://two.example/simple",
    "find-links": "/wheels",
    "no-index": "true",
    "trusted-host": "index.example",
    "proxy": "http://proxy.example:3128",
    "cert": "/ca.pem",
    "client-cert": "/client.pem",
    "timeout": "60",
    "retries": "9",
    "cache-dir": "/cache",
    "keyring-provider": "disabled",
}


@pytest.fixture
def surroundings(tmp_path, monkeypatch):
    """Variables of a user without pip settings on a machine without any."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(run_pip, "SYSTEM_FILE", tmp_path / "etc" / "pip.conf")
    (tmp_path / "site").mkdir()
    return {"HOME": str(tmp_path / "home"), "XDG_CONFIG_DIRS": str(tmp_path / "site")}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


OF_USER = "home/.config/pip/pip.conf"
everywhere = pytest.mark.parametrize(
    "place",
    [
        "home/.pip/pip.conf",
        OF_USER,
        "site/pip/pip.conf",
        "etc/pip.conf",
        "venv/pip.conf",
        "named.conf",
    ],
)


@everywhere
@pytest.mark.parametrize("section", ["global", "install"])
def test_no_file_redirects_an_installation(surroundings, tmp_path, place, section):
    write(tmp_path / place, f"[{section}]{REDIRECTING}")
    with_file = surroundings | {"PIP_CONFIG_FILE": str(tmp_path / "named.conf")}
    assert environment(with_file, ["install"]) == environment(surroundings, ["install"])


def test_no_variable_redirects_an_installation(surroundings):
    variables = {
        f"PIP_{line.partition(' = ')[0].upper().replace('-', '_')}": "1"
        for line in REDIRECTING.split("\n")
        if line
    }
    passed_on = environment(surroundings | variables, ["install"])
    assert passed_on == environment(surroundings, ["install"])
    assert passed_on["PIP_CONFIG_FILE"] == os.devnull


@everywhere
def test_the_way_to_an_index_is_passed_on_from_every_file(surroundings, tmp_path, place):
    lines = "\n".join(f"{name} = {value}" for name, value in REACHING.items())
    write(tmp_path / place, f"[global]\n{lines}\n")
    if place == "named.conf":
        surroundings["PIP_CONFIG_FILE"] = str(tmp_path / place)
    passed_on = environment(surroundings, ["install"])
    for name, value in REACHING.items():
        assert passed_on[f"PIP_{name.upper().replace('-', '_')}"] == value


def test_variables_override_the_install_section_and_that_the_global_one(surroundings, tmp_path):
    write(
        tmp_path / OF_USER,
        "[install]\nproxy = http://install\ncert = /install\n"
        "[global]\nproxy = http://global\ncert = /global\nindex_url = http://global\n",
    )
    variables = {"PIP_CERT": "/variable", "PIP_INDEX_URL": ""}
    assert settings(surroundings | variables) == {
        "proxy": "http://install",
        "cert": "/variable",
        "index-url": "http://global",  # An empty variable does not count.
    }


def test_a_list_over_several_lines_is_kept(surroundings, tmp_path):
    write(tmp_path / OF_USER, "[global]\nfind-links =\n    /one\n    /two\n")
    assert settings(surroundings)["find-links"].split() == ["/one", "/two"]


def test_a_file_that_replaces_the_users_is_read_instead(surroundings, tmp_path):
    write(tmp_path / OF_USER, "[global]\nproxy = http://user\n")
    write(tmp_path / "named.conf", "[global]\ncert = /named\n")
    named = surroundings | {"PIP_CONFIG_FILE": str(tmp_path / "named.conf")}
    assert settings(named) == {"cert": "/named"}
    assert settings(surroundings | {"PIP_CONFIG_FILE": os.devnull}) == {}


def test_an_installation_from_given_wheels_uses_no_other_place(surroundings):
    variables = {"PIP_FIND_LINKS": "/other", "PIP_EXTRA_INDEX_URL": "http://other"}
    passed_on = environment(surroundings | variables, ["install", "--no-index"])
    assert "/other" not in passed_on.values()
    assert "http://other" not in passed_on.values()


def test_a_damaged_file_is_named(surroundings, tmp_path):
    write(tmp_path / OF_USER, "index-url = http://no-section\n")
    with pytest.raises(SystemExit, match=f"pip's configuration file {tmp_path / OF_USER}"):
        settings(surroundings)

"""The pre-commit hooks, the editor's settings and the linters agree."""

import re
import tomllib
from configparser import ConfigParser

from places import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")


def test_pre_commit_runs_the_commands_of_make_lint():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert lint
    linters = [
        line.replace("$(VENV)", ".venv")
        for line in re.findall(r"^\t@(.*)$", lint[1], re.MULTILINE)
        if line.startswith("$(VENV)/")
    ]
    assert linters
    assert re.findall(r"^ +entry: (.*)$", HOOKS, re.MULTILINE) == linters


def test_pre_commit_downloads_no_other_versions_of_the_linters():
    assert set(re.findall(r"language: (\w+)", HOOKS)) == {"system"}
    assert re.findall(r"repo: (\w+)", HOOKS) == ["local"]


def test_every_tool_has_the_same_line_length_and_oldest_python():
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    editor = (ROOT / ".editorconfig").read_text(encoding="utf-8")
    assert f"max_line_length = {ruff['line-length']}\n" in editor
    oldest = setup["options"]["python_requires"].removeprefix(">=")
    assert setup["mypy"]["python_version"] == oldest
    assert ruff["target-version"] == f"py{oldest.replace('.', '')}"

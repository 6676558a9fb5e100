"""Run pip with the user's settings for reaching a package index, and with no other setting.

usage: python -I deploy/run_pip.py install ...

A pip.conf or a PIP_ variable can move an installation to another place (`user`, `target`,
`prefix`, `root`) or change what is installed (`no-deps`, `constraint`, `dry-run`). pip therefore
reads no configuration file here. The settings in `REACH` are passed on as variables.

The files are read here because `pip config list` obeys them too: with `user = true` it does not
list /etc/pip.conf, and with `quiet = 1` it prints nothing.
"""

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

REACH = frozenset(
    {
        "index-url", "pypi-url", "extra-index-url", "find-links", "no-index",
        "trusted-host", "proxy", "cert", "client-cert", "keyring-provider",
        "timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir",
    }
)  # fmt: skip

OURS = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",  # Nobody would see the question: the output goes to a log.
}

SYSTEM_FILE = Path("/etc/pip.conf")

# pip's own five retries take a minute without a network. Each try still waits 15 s for an answer.
RETRIES = "2"


def configuration_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that pip reads, in its order: a later file overrides an earlier one.

    Source: https://pip.pypa.io/en/stable/topics/configuration/
    """
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    home = Path(environ.get("HOME") or Path.home())
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip/pip.conf")
    else:
        for directory in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
            yield Path(directory, "pip", "pip.conf")
        yield SYSTEM_FILE
    if not (named and Path(named).exists()):
        yield home / ".pip" / "pip.conf"
        yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
        if sys.platform == "darwin":
            yield home / "Library" / "Application Support" / "pip" / "pip.conf"
    yield Path(sys.prefix, "pip.conf")
    if named:
        yield Path(named)


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that say how to reach an index, by the name of pip's option.

    `[install]` overrides `[global]`, and a variable overrides both. Empty values do not count.
    Raise `SystemExit` if a file is not a configuration file.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in configuration_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            sys.exit(f"Cannot read pip's configuration file {path}: {error}. Correct or remove it.")
        for name in sections.keys() & set(parser.sections()):
            sections[name].update(parser.items(name))
    variables = {
        name.removeprefix("PIP_"): value
        for name, value in environ.items()
        if name.startswith("PIP_")
    }
    return {
        option: value
        for found in (*sections.values(), variables)
        for name, value in found.items()
        if (option := name.lower().replace("_", "-").removeprefix("--")) in REACH and value
    }


def environment(environ: Mapping[str, str], arguments: list[str]) -> dict[str, str]:
    """Return the environment for pip. With --no-index in `arguments`, no index is passed on."""
    passed_on = {} if "--no-index" in arguments else settings(environ)
    clean = {name: value for name, value in environ.items() if not name.startswith("PIP_")}
    reach = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in passed_on.items()}
    return clean | {"PIP_RETRIES": RETRIES} | reach | OURS


if __name__ == "__main__":
    os.execve(  # noqa: S606 - pip takes the place of this program.
        sys.executable,
        [sys.executable, "-I", "-m", "pip", *sys.argv[1:]],
        environment(os.environ, sys.argv[1:]),
    )

"""Writes the man page and the shell completions, from the parser of the command line.

    python deploy/manual.py DIR

writes files below DIR as they are installed below /usr: DIR/share/man/man1/sensor-agent.1, and the
completions of bash, zsh and fish where Debian's shells look for them. The date on the man page is
that of SOURCE_DATE_EPOCH, if it is set. Needs no other packages.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent import __version__  # noqa: E402 - found by the line above.
from agent.cli.parser import parser  # noqa: E402 - the same.

NAME = "sensor-agent"
FILES = {"FILE", "PATH"}  # Metavars of options whose value is a file,
DIRECTORIES = {"DIR"}  # and of those whose value is a directory.


@dataclass(frozen=True, slots=True)
class Argument:
    """An option, or a positional argument if it has no flags.

    `value` is what its value is called in help texts; None for a switch.
    """

    flags: tuple[str, ...]
    value: str | None
    choices: tuple[str, ...]
    help: str
    is_optional: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its words after `sensor-agent`, none for the program itself."""

    words: tuple[str, ...]
    help: str
    arguments: tuple[Argument, ...]
    commands: "tuple[Command, ...]"

    @property
    def line(self) -> str:
        """The beginning of its command line."""
        return " ".join((NAME, *self.words))

    @property
    def options(self) -> list[Argument]:
        return [argument for argument in self.arguments if argument.flags]

    def all(self) -> "Iterator[Command]":
        """Yield this command and those below it."""
        yield self
        for command in self.commands:
            yield from command.all()


def read(group: argparse.ArgumentParser, text: str, *words: str) -> Command:
    """Return the command that a parser describes; `text` is its help."""
    arguments: list[Argument] = []
    commands: list[Command] = []
    # argparse has no public way to list what was added to a parser.
    for action in group._actions:  # noqa: SLF001 - see above.
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - see above.
            texts = {one.dest: one.help or "" for one in action._choices_actions}  # noqa: SLF001 - see above.
            commands += [
                read(below, texts[name], *words, name)
                for name, below in action.choices.items()
                if name in texts
            ]
        elif action.help != argparse.SUPPRESS:
            arguments.append(_argument(group, action))
    return Command(words, text, tuple(arguments), tuple(commands))


def _argument(group: argparse.ArgumentParser, action: argparse.Action) -> Argument:
    # The formatter fills in defaults.
    text = group._get_formatter()._expand_help(action) if action.help else ""  # noqa: SLF001 - as in `read`.
    choices = tuple(map(str, action.choices or ()))
    value = None if action.nargs == 0 else str(action.metavar or "|".join(choices) or action.dest)
    return Argument(
        flags=tuple(action.option_strings),
        value=value,
        choices=choices,
        help=text,
        is_optional=bool(action.option_strings) or action.nargs in ("?", "*"),
    )


# The man page.


def man_page(top: Command, description: str, epilog: str, date: str) -> str:
    """Return the man page in roff, see man(7)."""
    said = description[0].lower() + description[1:].rstrip(".")
    lines = [
        f'.TH SENSOR\\-AGENT 1 {date} "{NAME} {__version__}" "User Commands"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_roff(NAME)} \\- {_roff(said)}",
        ".SH SYNOPSIS",
        f".B {_roff(NAME)}",
        ".I COMMAND",
        "[\\fIOPTIONS\\fR]",
        ".br",
        f".B {_roff(NAME)} \\-\\-version",
        ".SH DESCRIPTION",
        *_paragraph(description),
        ".PP",
        _roff(epilog),
        ".SH COMMANDS",
        *_paragraph("--help after a command lists its options"),
    ]
    for command in top.all():
        if command.words and (
            not command.commands or len(command.options) > 1
        ):  # Not --help alone.
            lines += _section(command)
    return "\n".join([*lines, *TAIL]) + "\n"


TAIL = (
    ".SH EXIT STATUS",
    *(".TP", "0", "Success."),
    *(".TP", "1", "Failure; also if the output cannot be written."),
    *(".TP", "2", "Wrong command line."),
    *(".TP", "78", "The configuration cannot work."),
    ".SH FILES",
    *(".TP", ".I /etc/sensor\\-agent/config.toml"),
    "The configuration of the service. For one user:",
    ".I ~/.config/sensor\\-agent/config.toml",
    *(".TP", ".I /etc/sensor\\-agent/credentials"),
    "The keys of the service. systemd passes them to the daemon.",
    *(".TP", ".I /var/lib/sensor\\-agent"),
    "The state of the service: readings that wait, and accepted values. For one user:",
    ".I ~/.local/state/sensor\\-agent",
    ".SH SEE ALSO",
    ".BR systemctl (1),",
    ".BR journalctl (1)",
)


def _section(command: Command) -> list[str]:
    lines = [f".SS {_roff(command.line)}{_roff(_synopsis(command))}", *_paragraph(command.help)]
    for argument in command.arguments:
        if "--help" in argument.flags or not (argument.flags or argument.help):
            continue
        flags = ", ".join(f"\\fB{_roff(flag)}\\fR" for flag in argument.flags)
        value = "" if argument.value is None else f"\\fI{_roff(argument.value)}\\fR"
        lines += [".TP", f"{flags} {value}".strip()]
        lines += _paragraph(argument.help)
    return lines


def _synopsis(command: Command) -> str:
    return "".join(
        f" [{argument.value}]" if argument.is_optional else f" {argument.value}"
        for argument in command.arguments
        if not argument.flags
    )


def _paragraph(text: str) -> list[str]:
    """Return a help text as a sentence, a line of its own for each sentence."""
    text = text.strip()
    text = text[:1].upper() + text[1:]
    if text and text[-1] not in ".:!?":
        text += "."
    return [_roff(line) for line in text.replace(". ", ".\n").split("\n")]


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


# Completion.


def bash(top: Command) -> str:
    """Return the completion for bash, which needs nothing of the package bash-completion."""
    commands = list(top.all())
    values = []
    for command in commands:
        for option in command.options:
            if option.value is not None:
                values += [
                    f'    "{command.line} {flag}") {_bash_values(option)} ;;'
                    for flag in option.flags
                ]
    return "\n".join(
        [
            f"# Completion of {NAME} for bash.",
            "_sensor_agent() {",
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}",
            f"    local command={NAME} word kind='' words=''",
            "    # bash splits --option=value.",
            '    [ "$cur" != "=" ] || cur=',
            '    [ "$prev" != "=" ] || prev=${COMP_WORDS[COMP_CWORD-2]}',
            '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            '        case "$command $word" in',
            *(f'        "{one.line}") command="{one.line}" ;;' for one in commands if one.words),
            "        esac",
            "    done",
            '    case "$command $prev" in',
            *values,
            "    *)",
            '        case "$command" in',
            *(f'        "{one.line}") words="{" ".join(_words(one))}" ;;' for one in commands),
            "        esac",
            "        ;;",
            "    esac",
            "    COMPREPLY=()",
            '    [ -z "$kind" ] || compopt -o filenames 2>/dev/null',
            '    while IFS= read -r word; do COMPREPLY+=("$word"); done \\',
            '        < <(compgen ${kind:+"-$kind"} ${words:+-W "$words"} -- "$cur")',
            "}",
            f"complete -F _sensor_agent {NAME}",
            "",
        ]
    )


def _bash_values(option: Argument) -> str:
    if option.value in FILES:
        return "kind=f"
    if option.value in DIRECTORIES:
        return "kind=d"
    return f'words="{" ".join(option.choices)}"'


def _words(command: Command) -> list[str]:
    """Return what may follow a command."""
    words = [below.words[-1] for below in command.commands]
    for argument in command.arguments:
        words += argument.flags or argument.choices
    return words


def zsh(top: Command) -> str:
    """Return the completion for zsh."""
    lines = [f"#compdef {NAME}", f"# Completion of {NAME} for zsh.", ""]
    for command in top.all():
        lines += [f"{_function(command)}() {{", *_zsh_body(command), "}", ""]
    return "\n".join([*lines, f'{_function(top)} "$@"', ""])


def _function(command: Command) -> str:
    return "_".join(("_sensor_agent", *command.words)).replace("-", "_")


def _zsh_body(command: Command) -> list[str]:
    specs = []
    for argument in command.arguments:
        text = _zsh_text(argument.help)
        if argument.flags:
            value = "" if argument.value is None else f":{argument.value}:{_zsh_values(argument)}"
            specs += [f"'{flag}[{text}]{value}'" for flag in argument.flags]
        else:
            specs.append(f"':{_zsh_text(argument.value or '')}:{_zsh_values(argument)}'")
    if not command.commands:
        return [f"  _arguments {' '.join(specs)}"]
    return [
        "  local line state",
        f"  _arguments -C {' '.join(specs)} '1: :->command' '*:: :->rest'",
        "  case $state in",
        "  command)",
        "    local -a commands=(",
        *(f"      '{below.words[-1]}:{_zsh_text(below.help)}'" for below in command.commands),
        "    )",
        "    _describe command commands",
        "    ;;",
        "  rest)",
        "    case $line[1] in",
        *(f"    {below.words[-1]}) {_function(below)} ;;" for below in command.commands),
        "    esac",
        "    ;;",
        "  esac",
    ]


def _zsh_values(argument: Argument) -> str:
    if argument.value in FILES:
        return "_files"
    if argument.value in DIRECTORIES:
        return "_files -/"
    return f"({' '.join(argument.choices)})" if argument.choices else " "


def _zsh_text(text: str) -> str:
    """Return text for a specification in single quotes."""
    for special in "\\[]:":
        text = text.replace(special, f"\\{special}")
    return text.replace("'", "'\\''")


def fish(top: Command) -> str:
    """Return the completion for fish."""
    commands = [command for command in top.all() if command.words]
    valued = [
        flag
        for command in commands
        for option in command.options
        if option.value is not None
        for flag in option.flags
    ]
    lines = [
        f"# Completion of {NAME} for fish.",
        "function __sensor_agent_is",
        f"    set -l commands {' '.join(_quoted(command.line) for command in commands)}",
        f"    set -l valued {' '.join(dict.fromkeys(valued))}",
        f"    set -l command {NAME}",
        "    set -l previous",
        "    for word in (commandline -opc)[2..]",
        '        set -l longer "$command $word"',
        '        if not contains -- "$previous" $valued; and contains -- "$longer" $commands',
        "            set command $longer",
        "        end",
        "        set previous $word",
        "    end",
        '    test "$command" = "$argv"',
        "end",
        f"complete -c {NAME} -f",
    ]
    for command in top.all():
        start = f"complete -c {NAME} -n {_quoted(f'__sensor_agent_is {command.line}')}"
        lines += [
            f"{start} -a {below.words[-1]} -d {_quoted(below.help)}" for below in command.commands
        ]
        lines += [
            f"{start} {_fish_argument(argument)}"
            for argument in command.arguments
            if argument.flags or argument.choices
        ]
    return "\n".join([*lines, ""])


def _fish_argument(argument: Argument) -> str:
    words = [
        f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in argument.flags
    ]
    if argument.choices:
        words.append(f"-a {_quoted(' '.join(argument.choices))}")
    if argument.flags and argument.value is not None:
        words.append("-rF" if argument.value in FILES | DIRECTORIES else "-x")
    if argument.help:
        words.append(f"-d {_quoted(argument.help)}")
    return " ".join(words)


def _quoted(text: str) -> str:
    """Return text in single quotes for fish."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def outputs(date: str) -> dict[Path, str]:
    """Return the text of every file by its path below /usr."""
    described = parser()
    top = read(described, "")
    share = Path("share")
    return {
        share / "man" / "man1" / f"{NAME}.1": man_page(
            top, described.description or "", described.epilog or "", date
        ),
        share / "bash-completion" / "completions" / NAME: bash(top),
        share / "zsh" / "vendor-completions" / f"_{NAME}": zsh(top),
        share / "fish" / "vendor_completions.d" / f"{NAME}.fish": fish(top),
    }


def main() -> None:
    """Write the files below the directory that the command line names."""
    arguments = argparse.ArgumentParser(description="Write the man page and shell completions.")
    arguments.add_argument("directory", type=Path, metavar="DIR", help="for example debian/tmp/usr")
    directory: Path = arguments.parse_args().directory
    made = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    for name, text in outputs(time.strftime("%Y-%m-%d", time.gmtime(made))).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Questions on the terminal. A secret is never shown."""

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from agent.errors import AgentError

LONGEST_LINE = 64 * 1024  # Bytes.


class NoAnswerGiven(AgentError):  # noqa: N818 - the name states a condition.
    """The input ended before an answer."""

    def __init__(self) -> None:
        super().__init__("The answers ended before the last question. Nothing was changed.")


def is_terminal() -> bool:
    """Return whether questions can be asked on standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask_line(question: str, default: str | None = None) -> str:
    """Return the answer, without space around it; an empty answer is the default, or empty.

    Raises NoAnswerGiven if the input ends.
    """
    _prompt(f"{question} [{default}]: " if default else f"{question}: ")
    return _line() or default or ""


def ask_secret(question: str) -> str:
    """Return the answer to a question whose answer the terminal does not show."""
    with _silent():
        _prompt(f"{question} (not shown while you type): ")
        try:
            return _line()
        finally:
            print(file=sys.stderr)


@contextmanager
def _silent() -> Iterator[None]:
    """Switch the terminal's echo off in the block, and on again however the block ends."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = list(before)
    silent[3] &= ~termios.ECHO
    try:
        # Not TCSAFLUSH: an answer may have been pasted before its question.
        termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _prompt(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _line() -> str:
    # Bytes, because a paste in another encoding is a wrong answer, not an error.
    line = sys.stdin.buffer.readline(LONGEST_LINE)
    if not line:
        print(file=sys.stderr)
        raise NoAnswerGiven
    return line.decode(errors="replace").strip()

"""docs/doctor.md has each message of the journal and each line of `status` that asks for action."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from places import ROOT
from statuses import PLACE, STATUS, status_with

from agent.diagnostics.status_text import summary
from agent.status import DroppedReadings, LimitsPart, SetAsideFile
from agent.storage.set_aside import SENTENCES

DOCUMENT = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
LOUD = {"warning", "error", "exception", "log"}
ERRORS = {"EndedHereError", "SdkStuckError"}  # Classes whose sentences are where they are raised.
ELSEWHERE = {
    "%s",  # The sentence of an error: test_reasons_in_docs.
    "%s to %s as %s.",  # The connection, which asks for nothing.
}
METHODS = {"_complain", "_log_failure"}  # They log a sentence that is an argument.
PLACEHOLDER = re.compile(r"%[sdg]|\{[^}]*\}")


def literals(node: ast.AST) -> Iterator[str]:
    """Yield each text in a call or table; what is inserted becomes a placeholder."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join("".join(literals(part)) if isinstance(part, ast.Constant) else "%s"
                          for part in parts)  # fmt: skip
        case ast.IfExp(body=one, orelse=other):
            yield from literals(one)
            yield from literals(other)


def messages() -> Iterator[str]:
    """Yield the sentence of each message above level info, with placeholders."""
    for path in sorted((ROOT / "agent").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(ast.Name("log"), attr=level), args=given) if (
                    level in LOUD
                ):
                    yield from literals(given[1 if level == "log" else 0])
                case ast.Call(func=ast.Name(name), args=[given]) if name in ERRORS:
                    yield from literals(given)
                case ast.Call(func=ast.Attribute(attr=name), args=given) if name in METHODS:
                    yield from (text for each in given for text in literals(each) if " " in text)
    yield from SENTENCES.values()


def first_sentence(text: str) -> str:
    return re.split(r"(?<=\.) ", text)[0]


def pattern(message: str) -> str:
    """Return a regular expression for the first sentence, with anything in each placeholder."""
    return ".+".join(map(re.escape, PLACEHOLDER.split(first_sentence(message))))


MESSAGES = sorted({first_sentence(each) for each in messages()} - ELSEWHERE)
ROWS = re.findall(r"(?m)^\| (.+?) \| .+ \| .+ \|$", DOCUMENT)
TABLES = ("Sensor and LED", "Readings and disk", "Commands, properties and moves", "The daemon")


def rows(heading: str) -> list[str]:
    section = DOCUMENT.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    return re.findall(r"(?m)^\| (.+?) \| .+ \|$", section)[1:]


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_has_a_row(message):
    assert any(re.fullmatch(pattern(message), row) for row in ROWS), message


@pytest.mark.parametrize("heading", TABLES)
def test_each_row_is_a_message(heading):
    assert rows(heading)
    for row in rows(heading):
        assert any(re.fullmatch(pattern(message), row) for message in MESSAGES), row


FAILING = status_with(
    sensor={"status": "no_answer", "error": "REASON", "warning": "unchanging"},
    led={"fault": "REASON"},
    limits=LimitsPart(
        status="too_dry", in_force={"humidityLow": 30}, outside={"humidityLow": "TIME"}
    ),
    cloud={"hub": None, "error": "REASON", "place": replace(PLACE, status="REASON")},
    outbox={
        "in_memory": 3,
        "damaged": 7,
        "dropped": (DroppedReadings("RUN", 1, 200, "room"),),
        "set_aside": (SetAsideFile(file="FILE", reason="other-board"),),
        "error": "REASON",
    },
)


def test_each_line_of_the_status_that_asks_for_action_has_a_row():
    quiet = summary(STATUS).splitlines()
    loud = [line for line in summary(FAILING).splitlines() if line not in quiet]
    assert len(loud) > 8
    for line in loud:
        assert any(line.startswith(row.partition("...")[0]) for row in rows("The status")), line

"""The code, the events and the catalogue match each other."""

import ast
import re

import pytest
from catalogue import CATALOG, ENTRIES
from places import ROOT

from agent.logs.events import LogEvent

LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
TAKEN = {"MESSAGE", "MESSAGE_ID", "PRIORITY", "LOGGER", "DEVICE_ID", "SYSLOG_IDENTIFIER"}
# Variables for an event that a table or the caller chooses.
CHOSEN = {"event"}


def log_calls():
    """Each call of a module's log: where, which level, its keywords."""
    for path in sorted((ROOT / "agent").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=level)):
                    if level in LEVELS:
                        where = f"{path.relative_to(ROOT)}:{node.lineno}"
                        yield where, level, {word.arg: word.value for word in node.keywords}


CALLS = list(log_calls())
SOURCES = {p: p.read_text() for p in (ROOT / "agent").rglob("*.py") if p.name != "events.py"}


@pytest.mark.parametrize(
    ("where", "keywords"), [(w, k) for w, level, k in CALLS if level != "debug"]
)
def test_every_log_line_above_debug_is_an_event(where, keywords):
    match keywords.get("extra"):
        case ast.Call(
            func=ast.Attribute(
                value=ast.Attribute(value=ast.Name("LogEvent"), attr=name), attr="about"
            ),
            keywords=fields,
        ):
            assert name in LogEvent.__members__
        case ast.Call(func=ast.Attribute(value=ast.Name(name), attr="about"), keywords=fields) if (
            name in CHOSEN
        ):
            pass
        case other:
            pytest.fail(f"{where} has no extra=LogEvent....about(...), but {other}")
    for field in fields:
        if field.arg is not None:
            assert re.fullmatch(r"[A-Z][A-Z_]*", field.arg), f"{where}: {field.arg}"
            assert field.arg not in TAKEN, f"{where}: {field.arg}"


def test_an_event_carries_its_id_and_fields():
    assert LogEvent.STOPPED.about(STATUS=0, HUB=None) == {
        "MESSAGE_ID": "de6b024831bc4ee69cdf38250875de59",
        "STATUS": 0,
    }


def test_every_event_is_logged_somewhere():
    named = set(re.findall(r"\bLogEvent\.([A-Z_]+)", "".join(SOURCES.values())))
    assert named == set(LogEvent.__members__)


def test_events_and_catalogue_entries_match():
    assert {name: entry[0] for name, entry in ENTRIES.items()} == {
        e.name: e.value for e in LogEvent
    }
    assert CATALOG.read_text().count("\n-- ") == len(LogEvent)
    assert all(re.fullmatch(r"[0-9a-f]{32}", event) for event in LogEvent)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_has_a_subject_and_a_text(name):
    _, headers, text = ENTRIES[name]
    assert headers["Defined-By"] == "sensor-agent"
    assert 10 < len(headers["Subject"]) < 80
    assert text.strip()
    assert max(map(len, text.splitlines())) <= 104


def warnings():
    names = set(re.findall(r"\bLogEvent\.([A-Z_]+)", "".join(SOURCES.values())))
    quiet = {
        ast.unparse(keywords["extra"].func.value).removeprefix("LogEvent.")
        for _, level, keywords in CALLS
        if level in {"debug", "info"} and "extra" in keywords
    }
    return sorted(names - quiet)


@pytest.mark.parametrize("name", warnings())
def test_the_entry_of_a_warning_says_what_to_do(name):
    _, _, text = ENTRIES[name]
    assert "hat to do" in text or "please report" in text, f"{name} does not say what to do"


def test_entries_use_only_fields_that_records_have():
    used_by_records = {
        field.arg
        for _, _, keywords in CALLS
        if isinstance(keywords.get("extra"), ast.Call)
        for field in keywords["extra"].keywords
    }
    used_by_records |= {"TEMPERATURE", "HUMIDITY", "DEVICE_ID"}
    for name, (_, headers, text) in ENTRIES.items():
        used = set(re.findall(r"@([A-Z_]+)@", headers["Subject"] + text))
        assert used <= used_by_records, name

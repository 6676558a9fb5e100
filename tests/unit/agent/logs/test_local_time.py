"""Local times follow a change of the time zone while the program runs.

glibc caches the zone until tzset(3) is called. The zone comes from TZ, as here, or from
/etc/localtime, which only root can change.
"""

import io
import logging
import os
import time

import pytest

from agent.logs import journal
from agent.logs.local_time import follow_system_zone, local_time

NOON = 1_790_000_000.0 // 86400 * 86400 + 12 * 3600  # UTC


@pytest.fixture
def set_zone(monkeypatch):
    """Change the zone without notifying the process, as the system does."""
    before = list(logging.getLogger().handlers), logging.getLogger().level
    yield lambda zone: monkeypatch.setenv("TZ", zone)
    logging.getLogger().handlers[:], logging.getLogger().level = before
    monkeypatch.undo()
    time.tzset()


def test_the_local_time_follows_the_zone(set_zone):
    set_zone("UTC0")
    assert local_time(NOON).tm_hour == 12
    set_zone("JST-9")
    assert local_time(NOON).tm_hour == 21


def test_the_log_follows_the_zone(set_zone):
    stderr = io.StringIO()
    set_zone("UTC0")
    journal.configure("info", environ={}, stderr=stderr)
    record = logging.LogRecord("x", logging.INFO, "x", 1, "Connected.", None, None)
    record.created = NOON
    logging.getLogger().handle(record)
    set_zone("JST-9")
    logging.getLogger().handle(record)
    assert [line[:5] for line in stderr.getvalue().splitlines()] == ["12:00", "21:00"]


@pytest.mark.parametrize("value", [":/etc/localtime", "/etc/localtime"])
def test_a_variable_that_names_the_system_zone_does_not_pin_it(set_zone, value):
    set_zone(value)
    follow_system_zone()
    assert "TZ" not in os.environ
    set_zone("JST-9")
    follow_system_zone()
    assert os.environ["TZ"] == "JST-9"

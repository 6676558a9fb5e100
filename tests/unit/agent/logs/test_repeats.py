import logging

import pytest

from agent.logs import repeats
from agent.logs.repeats import OnceAMinute


class Recorder(logging.Handler):
    def __init__(self):
        super().__init__()
        self.time = 0.0
        self.lines = []
        self.addFilter(OnceAMinute(lambda: self.time))

    def emit(self, record):
        self.lines.append(record.getMessage())


@pytest.fixture
def recorder():
    recorder = Recorder()
    log.addHandler(recorder)
    log.setLevel(logging.DEBUG)
    yield recorder
    log.removeHandler(recorder)


log = logging.getLogger("repeats.test")


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_a_repeated_warning_is_logged_once_a_minute_with_the_number_left_out(recorder, level):
    for second in range(150):
        recorder.time = float(second)
        log.log(level, "Cannot accept: %s.", "Too many open files")
    assert recorder.lines == [
        "Cannot accept: Too many open files.",
        *["Cannot accept: Too many open files. (59 more since the last one.)"] * 2,
    ]


def test_a_later_warning_is_logged_unchanged(recorder):
    for _ in range(2):
        log.warning("look")
        recorder.time += 60
    assert recorder.lines == ["look", "look"]


def test_other_texts_and_lower_levels_are_all_logged(recorder):
    for number in range(3):
        log.warning("look %d", number)
        log.info("as usual")
        log.debug("details")
    assert len(recorder.lines) == 9


def test_memory_is_bounded(recorder, monkeypatch):
    monkeypatch.setattr(repeats, "MOST_REMEMBERED", 5)
    for number in range(100):
        log.warning("look %d", number)
        assert len(recorder.filters[0]._seen) <= 5

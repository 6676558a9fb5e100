"""The picture of `read --watch` fits every terminal, and says what was read."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.watch_view import RED, Sample, View, frame

NOW = "2026-11-22T10:01:10.000Z"
READINGS = tuple(
    Sample(f"2026-11-22T10:00:{number:02}.000Z", 20.0 + number / 10, 45.0) for number in range(20)
)
FAULT = Sample("2026-11-22T10:01:00.000Z", fault="checksum", error="The frame was damaged.")


def view(samples=READINGS, **changes):
    shown = View(title="dht22 of pi-1", now=NOW, unit="celsius", samples=samples)
    return replace(shown, **changes)


def drawn(shown, *, columns=80, lines=24, is_plain=False, has_colour=False):
    size = os.terminal_size((columns, lines))
    return frame(shown, size=size, is_plain=is_plain, has_colour=has_colour)


def test_the_last_values_and_their_range_are_shown():
    lines = drawn(view())
    assert lines[0].startswith("dht22 of pi-1 ")
    assert lines[1] == "Temperature: 21.9 °C   from 20.0 to 21.9"
    assert "Humidity: 45.0 %   from 45.0 to 45.0" in lines
    assert "20 readings in 19 s; faults: none" in lines


def test_one_reading_has_no_span_and_a_fault_is_not_a_reading():
    assert "1 reading; faults: none" in drawn(view(READINGS[:1]))
    assert "1 reading in 1 min; faults: none; last " in drawn(view((READINGS[0], FAULT)))[-2]


def test_the_age_of_a_reading_that_is_not_current_is_shown():
    lines = drawn(view(now="2026-11-22T18:05:19.000Z"))
    assert lines[1] == "Temperature: 21.9 °C   8 h 5 min ago   from 20.0 to 21.9"
    assert "Humidity: 45.0 %   8 h 5 min ago   from 45.0 to 45.0" in lines
    for now in (READINGS[-1].time, "2026-11-22T08:00:00.000Z"):  # The clock was set back.
        assert drawn(view(now=now))[1] == "Temperature: 21.9 °C   from 20.0 to 21.9"


def test_a_chart_rises_with_the_values():
    top, bottom = drawn(view())[2], drawn(view())[7]
    assert top.startswith("   21.9 ")
    assert bottom.startswith("   20.0 ")
    assert top.rstrip().endswith("█")
    assert bottom[8:] == "▁" + bottom[9:]
    assert bottom.count("█") > top.count("█")


def test_noise_of_a_tenth_is_not_drawn_as_a_mountain():
    noise = [Sample(NOW, 20.0 + number % 2 / 5, 45.0) for number in range(20)]
    assert "   20.6 " in drawn(view(tuple(noise)))[2]
    assert "   19.6 " in drawn(view(tuple(noise)))[7]


def test_temperatures_are_in_the_configured_unit():
    lines = drawn(view(unit="fahrenheit"))
    assert lines[1] == "Temperature: 71.4 °F   from 68.0 to 71.4"
    assert lines[7].startswith("   68.0 ")


def test_a_fault_is_a_gap_with_a_mark_and_its_reason():
    lines = drawn(view((*READINGS, FAULT), counters={"checksum": 3}), columns=100)
    assert lines[1] == "Temperature: -   from 20.0 to 21.9"
    assert lines[-3] == " " * (8 + 20) + "x"
    assert "faults: checksum 3; last " in lines[-2]
    assert lines[-2].endswith("The frame was damaged.")


@pytest.mark.parametrize("samples", [(), (FAULT,)])
def test_without_a_reading_there_is_no_chart(samples):
    lines = drawn(view(samples))
    assert lines[1:3] == ["Temperature: no reading yet", "Humidity: no reading yet"]


LIMITS = {"temperatureLow": 5.0, "temperatureHigh": 21.5, "humidityLow": 30.0, "later": 1.0}


def test_limits_are_shown_with_the_one_that_is_crossed():
    lines = drawn(view(limits=LIMITS), columns=100)
    assert "at least 5 °C, at most 21.5 °C (too warm)   from 20.0" in lines[1]
    assert "Humidity: 45.0 %   at least 30 %   from" in lines[8]
    lines = drawn(view(limits=LIMITS, unit="fahrenheit"), columns=100)
    assert "at least 41 °F, at most 70.7 °F (too warm)" in lines[1]


def test_colours_are_only_used_if_wanted():
    shown = view((*READINGS, FAULT), limits=LIMITS)
    assert not any("\x1b" in line for line in drawn(shown))
    coloured = drawn(shown, has_colour=True)
    assert coloured[-3].startswith(RED)
    assert drawn(view(limits=LIMITS), has_colour=True)[1].startswith(RED)


@given(
    st.lists(
        st.one_of(
            st.builds(Sample, st.just(NOW), st.floats(-40, 125), st.floats(0, 100)),
            st.just(FAULT),
        ),
        max_size=40,
    ),
    st.integers(1, 120),
    st.integers(1, 40),
    st.booleans(),
)
def test_the_picture_fits_every_terminal(samples, columns, lines, is_plain):
    shown = view(tuple(samples), limits=LIMITS, counters={"checksum": 7})
    picture = drawn(shown, columns=columns, lines=lines, is_plain=is_plain)
    assert len(picture) <= lines
    assert all(len(line) <= columns for line in picture)
    assert not is_plain or all(line.isascii() for line in picture)

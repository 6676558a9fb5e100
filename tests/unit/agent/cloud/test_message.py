import json
from dataclasses import replace
from datetime import datetime

import pytest
from fakes import HandClock
from hypothesis import given
from hypothesis import strategies as st

from agent.cloud.message import DROPPED_AT_ONCE, message
from agent.readings.clock import utc
from agent.readings.outbox import Entry, Position
from agent.status import DroppedReadings
from hw import Reading


def entry(temperature=21.5, humidity=45.2, clock=None):
    taken = (clock or HandClock()).stamp()
    return Entry(Position(1, "box", 7), Reading(temperature, humidity), taken)


def test_a_message_has_the_tutorials_values_and_the_time():
    made = message(entry(), unit="celsius", clock=HandClock())
    assert made.id == "box:7"
    assert json.loads(made.body) == {"temp": 21.5, "humid": 45.2}
    assert made.properties == {"iothub-creation-time-utc": "2023-11-14T22:13:20.000Z"}


def test_a_message_names_the_id_before_its_run_and_dropped_readings():
    gaps = [DroppedReadings("00ff", 1, 1, "age"), DroppedReadings("00ff", 5, 80, "damaged")]
    first = replace(entry(), previous="00ff:90")
    properties = message(first, unit="celsius", clock=HandClock(), dropped=gaps).properties
    assert properties["previous"] == "00ff:90"
    assert properties["dropped"] == "00ff:1-1:age,00ff:5-80:damaged"


def test_the_longest_list_of_dropped_readings_fits_in_2_kilobytes():
    longest = [DroppedReadings("f" * 12, 2**32 - 2, 2**32 - 1, "damaged")] * DROPPED_AT_ONCE
    made = message(entry(), unit="celsius", clock=HandClock(), dropped=longest)
    assert len(made.properties["dropped"]) <= 2000


def test_a_reading_is_one_message_of_the_free_tier_which_counts_blocks_of_512_bytes():
    first = replace(entry(-40.25, 100.0), previous=f"{'f' * 12}:{2**32}")
    made = message(first, unit="fahrenheit", clock=HandClock(known=False))
    # https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-construct
    counted = [made.body, made.id, "application/json", "utf-8", *made.properties.items()]
    assert sum(len("".join(part)) for part in counted) < 512


@pytest.mark.parametrize(
    ("celsius", "fahrenheit"), [(25.0, 77.0), (-40.0, -40.0), (0.0, 32.0), (36.6, 97.88)]
)
def test_fahrenheit_is_converted(celsius, fahrenheit):
    made = message(entry(celsius), unit="fahrenheit", clock=HandClock())
    assert json.loads(made.body)["temp"] == fahrenheit


def test_a_reading_from_before_the_clock_was_set_gets_its_true_time():
    clock = HandClock(wall=1000.0, uptime=50.0, known=False)
    early = entry(clock=clock)
    clock.time, clock.up, clock.known = 1_700_000_100.0, 150.0, True
    made = message(early, unit="celsius", clock=clock)
    assert made.properties == {"iothub-creation-time-utc": utc(1_700_000_000.0)}


def test_a_message_is_marked_while_the_clock_is_unsynchronised():
    clock = HandClock(known=False)
    assert message(entry(clock=clock), unit="celsius", clock=clock).properties["clock"] == (
        "unsynchronised"
    )


def test_a_reading_of_an_earlier_boot_keeps_its_time():
    old = entry(clock=HandClock(wall=5000.0, known=False, boot_id="boot-before"))
    made = message(old, unit="celsius", clock=HandClock())
    assert made.properties == {
        "iothub-creation-time-utc": "1970-01-01T01:23:20.000Z",
        "clock": "unsynchronised",
    }


def test_a_jump_of_a_synchronised_clock_does_not_change_earlier_stamps():
    clock = HandClock()
    stamped = entry(clock=clock)
    clock.time -= 3600
    assert message(stamped, unit="celsius", clock=clock).properties == {
        "iothub-creation-time-utc": "2023-11-14T22:13:20.000Z"
    }


@given(st.floats(-40, 80), st.floats(0, 100), st.sampled_from(["celsius", "fahrenheit"]))
def test_the_body_is_json_with_two_numbers(temperature, humidity, unit):
    body = json.loads(message(entry(temperature, humidity), unit=unit, clock=HandClock()).body)
    assert set(body) == {"temp", "humid"}
    assert all(isinstance(value, float) for value in body.values())


@given(st.floats(0, 4_000_000_000))
def test_a_time_is_written_in_utc_with_z(moment):
    assert abs(datetime.fromisoformat(utc(moment)).timestamp() - moment) <= 0.001
    assert utc(moment).endswith("Z")


@given(st.floats(allow_nan=False))
def test_any_time_can_be_written(moment):
    assert datetime.fromisoformat(utc(moment)).year >= 1970

import json
from dataclasses import replace

import pytest
from statuses import STATUS, status_with

from agent.daemon.control_socket import read_status
from agent.errors import ControlError
from agent.status import (
    DroppedReadings,
    LimitsPart,
    SetAsideFile,
    status_from_json,
    status_to_json,
)

WITHOUT_CLOUD = status_with(cloud=None, properties=None, outbox=None)
SICK = status_with(
    sensor={"status": "busy", "last": None, "error": "Another program holds GPIO 4."},
    led={"fault": "The line is busy."},
    limits=LimitsPart(
        status="too_dry", in_force={"humidityLow": 30.5}, outside={"humidityLow": "TIME"}
    ),
    cloud={"hub": None, "error": "hub.test cannot be reached."},
    outbox={
        "dropped": (DroppedReadings("box", 1, 200, "room"), DroppedReadings("box", 7, 7, "age")),
        "set_aside": (SetAsideFile(file="state.db.other", reason="other-board"),),
        "error": "The disk is full.",
    },
)


def on_the_wire(status):
    return json.loads(json.dumps(status_to_json(status)))


@pytest.mark.parametrize("status", [STATUS, WITHOUT_CLOUD, SICK])
def test_a_status_survives_the_control_socket(status):
    assert status_from_json(on_the_wire(status)) == status


def test_the_keys_on_the_wire_stay_as_they_are():
    sent = on_the_wire(SICK)
    assert list(sent) == [
        *("time", "version", "origin", "device_id", "sensor", "led", "limits", "cloud"),
        *("properties", "outbox"),
    ]
    assert list(on_the_wire(STATUS)["sensor"]["last"]) == [
        *("temperature", "humidity", "unit", "taken")
    ]
    assert sent["cloud"] == {
        "hub": None,
        "attempts": 4,
        "connections": 3,
        "error": "hub.test cannot be reached.",
        "next_attempt": None,
        "place": {
            "id_scope": "0ne000000BB",
            "hub": "hub.new",
            "moving_to": None,
            "status": "moved",
            "since": "2026-11-22T10:00:00.000Z",
            "by": "DeviceMove from hub.old",
        },
    }
    assert sent["outbox"]["dropped"][0] == {
        "run": "box",
        "first": 1,
        "last": 200,
        "reason": "room",
    }
    assert sent["outbox"]["set_aside"] == [{"file": "state.db.other", "reason": "other-board"}]


def test_unknown_keys_of_a_newer_daemon_are_ignored():
    sent = on_the_wire(STATUS) | {"weather": "fine"}
    sent["sensor"] |= {"address": 118}
    assert status_from_json(sent) == STATUS


def test_missing_optional_keys_of_an_older_daemon_get_their_default():
    sent = on_the_wire(WITHOUT_CLOUD)
    for key in ("cloud", "properties", "outbox"):
        del sent[key]
    del sent["led"]["fault"]
    del sent["sensor"]["last"]["unit"]
    assert status_from_json(sent) == WITHOUT_CLOUD


def test_whole_numbers_are_accepted_as_fractions_and_not_the_other_way():
    sent = on_the_wire(STATUS)
    sent["sensor"]["last"]["temperature"] = 21
    assert STATUS.sensor.last is not None
    assert status_from_json(sent).sensor.last == replace(STATUS.sensor.last, temperature=21)
    sent["led"]["brightness"] = 1.5
    with pytest.raises(ValueError, match=r"status.led.brightness has an unexpected value: 1.5"):
        status_from_json(sent)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": None}, "status.version has an unexpected value: None"),
        ({"led": {}}, "status.led.driver is missing"),
        ({"sensor": []}, r"status.sensor has an unexpected value: \[\]"),
        ({"cloud": {"hub": 5}}, "status.cloud.hub has an unexpected value: 5"),
        ({"outbox": {"waiting": True}}, "status.outbox.waiting has an unexpected value: True"),
        ({"outbox": {"waiting": 0, "room_seconds": 1.0, "dropped": 5}}, "status.outbox.dropped"),
        ({"outbox": {"waiting": 0, "room_seconds": 1.0, "dropped": [5]}}, "status.outbox.dropped"),
        ({"properties": "none"}, "status.properties"),
    ],
)
def test_a_status_that_cannot_be_read_is_refused_with_the_key(change, reason):
    with pytest.raises(ValueError, match=reason):
        status_from_json(on_the_wire(STATUS) | change)


@pytest.mark.parametrize("answer", [{"ok": True}, {"ok": True, "status": 5}])
def test_a_daemon_of_an_incompatible_version_is_reported_in_one_sentence(answer):
    with pytest.raises(ControlError, match=r"unexpected value: .* Restart the daemon"):
        read_status(answer)

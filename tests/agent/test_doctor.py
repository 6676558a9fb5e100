from agent.doctor import summary

STATUS = {
    "version": "1.2.3",
    "device_id": "pi-1",
    "sensor": {
        "driver": "dht22",
        "interval": 60,
        "status": "ok",
        "status_since": "2026-11-22T10:00:00.000Z",
        "last": {"temperature": 21.5, "humidity": 45.0, "taken": "2026-11-22T10:01:00.000Z"},
        "counters": {"attempts": 12, "accepted": 10, "checksum": 2, "no_answer": 0},
        "error": None,
    },
    "led": {"driver": "gpiozero", "state": "blinking", "brightness": 2, "fault": None},
    "cloud": {"hub": "hub.test", "connections": 3, "error": None},
    "properties": {},
    "outbox": {
        "waiting": 1,
        "in_memory": 0,
        "oldest": 1_700_000_000.0,
        "room_seconds": 2_592_000.0,
        "dropped": [],
        "set_aside": [],
        "error": None,
    },
}


def test_a_healthy_device_in_words():
    assert summary(STATUS) == (
        "sensor-agent 1.2.3 on pi-1\n"
        "sensor (dht22): ok since 2026-11-22T10:00:00.000Z\n"
        "last reading: 21.5 degrees Celsius, 45.0 %, taken 2026-11-22T10:01:00.000Z\n"
        "attempts: 12, readings: 10, without one: checksum 2\n"
        "LED (gpiozero): blinking, brightness 2\n"
        "session: connected to hub.test, connection 3\n"
        "backlog: 1 reading waiting, since 2023-11-14T22:13:20.000Z\n"
        "outbox: room for 30.0 days without the hub"
    )


def test_a_sick_device_in_words():
    sensor = STATUS["sensor"] | {"status": "no_answer", "last": None, "error": "Is it wired?"}
    led = STATUS["led"] | {"fault": "The line is busy."}
    cloud = {"hub": None, "connections": 0, "error": "hub.test cannot be reached: no route."}
    gap = {"outbox_id": "box", "first": 1, "last": 200, "reason": "room"}
    notes = [
        {"file": "a.corrupt", "reason": "corrupt", "readings": None},
        {"file": "a.other", "reason": "other-board", "readings": 7},
    ]
    outbox = STATUS["outbox"] | {
        "waiting": 1440,
        "in_memory": 3,
        "room_seconds": 5400.0,
        "dropped": [gap],
        "set_aside": notes,
        "error": "state.db cannot be used: it is full.",
    }
    said = summary(STATUS | {"sensor": sensor, "led": led, "cloud": cloud, "outbox": outbox})
    assert "last reading" not in said
    assert "last fault: Is it wired?" in said
    assert "LED (gpiozero): blinking, brightness 2; The line is busy." in said
    assert "session: not connected; hub.test cannot be reached: no route." in said
    assert "backlog: 1440 readings waiting" in said
    assert "room for 1.5 hours" in said
    assert "outbox: state.db cannot be used: it is full." in said
    assert "set aside: a.corrupt, which is damaged" in said
    assert "set aside: a.other, with 7 readings of another board" in said
    assert "the disk fails, 3 readings are in memory only" in said
    assert "dropped (room): box:1 to 200" in said


def test_no_cloud_is_said():
    said = summary(STATUS | {"cloud": None, "outbox": None})
    assert "cloud: not configured" in said
    assert "readings are shown and not sent" in said

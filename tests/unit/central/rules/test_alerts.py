"""Rules at work on a database: what is judged, stored, and continued after a restart."""

import asyncio
import base64
import contextlib
import json
import logging
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import json_values

from central.errors import InvalidTwin, StoreError
from central.records import (
    MissingReadings,
    PropertyValue,
    Rule,
    Silence,
    Threshold,
)
from central.rules import alerts as alerts_module
from central.rules import conditions
from central.rules.alerts import Alerts
from central.storage import rules
from central.storage.registry import Registry

HOT = Threshold("temp", above=True, limit=30.0, margin=2.0, seconds=0.0)
GROUP_KEY = base64.b64encode(b"a group key of some length").decode()


class Place:
    """A central without a network, whose rules are judged when a test asks for it."""

    def __init__(self, store, clock):
        self.store = store
        self.clock = clock
        self.registry = Registry(store, group_key=GROUP_KEY, clock=clock)
        self.seen = {}
        self.restart()

    def restart(self):
        """Start judging as a central does that was killed before."""
        self.rules = Alerts(
            self.store,
            self.registry.events,
            clock=self.clock,
            last_seen=self.seen.get,
            keep_days=30.0,
        )

    def add(self, condition, **about):
        rule = Rule(0, 0, "Rule", True, self.clock(), condition, **about)
        added = self.store.call(rules.add_rule, rule)
        self.rules.changed()
        return added

    def change(self, rule, **changes):
        changed = self.store.call(rules.change_rule, replace(rule, since=self.clock(), **changes))
        self.rules.changed()
        return changed

    async def send(self, value, *, at=None, device="pi-1", name="temp", **system):
        await self.send_body(json.dumps({name: value}), at=at, device=device, **system)

    async def send_body(self, body, *, at=None, device="pi-1", **system):
        body = body if isinstance(body, bytes) else body.encode()
        await self.registry.record_message(
            device, created=at, body=body, properties={}, system=system
        )

    async def judge(self):
        while await self.rules.judge():
            pass
        return self.alerts()

    def alerts(self):
        """Return when each alert was fired and ended, in the order in which they were made."""
        found = self.store.read(rules.alerts)
        return [(alert.fired, alert.returned) for alert in reversed(found)]


@pytest.fixture
async def place(store, clock):
    place = Place(store, clock)
    place.registry.add_device("pi-1")
    await place.judge()
    return place


async def test_a_reading_beyond_the_limit_makes_an_alert_until_one_is_inside_of_the_margin(place):
    place.add(HOT)
    for at, value in [(1001.0, 29.0), (1002.0, 31.0), (1003.0, 29.0), (1004.0, 28.0)]:
        place.clock.now = at
        await place.send(value)
    assert await place.judge() == [(1002.0, 1004.0)]


async def test_a_limit_in_one_unit_is_for_the_devices_with_the_models_that_have_it(place):
    place.add(replace(HOT, templates=("dtmi:a:Celsius;1", "dtmi:a:Other;1")))
    place.registry.add_device("pi-2", template="dtmi:a:Fahrenheit;1")
    place.registry.add_device("pi-3", template="dtmi:a:Other;1")
    place.rules.changed()
    for device in ("pi-1", "pi-2", "pi-3"):
        await place.send(31.0, device=device)
    await place.judge()
    assert {alert.device_id for alert in place.store.read(rules.alerts)} == {"pi-3"}


async def test_a_restart_neither_loses_an_alert_nor_makes_it_twice(place):
    place.add(replace(HOT, seconds=60.0))
    for at in (1000.0, 1030.0, 1060.0, 1090.0):
        place.clock.now = at
        await place.send(31.0)
        place.restart()
        await place.judge()
        place.restart()
        await place.judge()
    assert place.alerts() == [(1060.0, None)]


async def test_what_was_judged_and_not_stored_is_judged_again(place, monkeypatch):
    place.add(HOT)
    await place.judge()
    await place.send(31.0)

    def fail(*_):
        raise StoreError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(rules, "save", fail)
        assert await place.judge() == []
    assert await place.judge() == [(1000.0, None)]


async def test_a_backlog_after_an_outage_makes_an_alert_in_the_past_once(place):
    place.add(HOT)
    await place.send(20.0, at=1000.0)
    place.clock.now = 5000.0
    await place.send(20.0, at=5000.0)
    await place.judge()
    for at, value in [(2000.0, 31.0), (2001.0, 32.0), (2002.0, 20.0), (3000.0, 31.0)]:
        await place.send(value, at=at)
        await place.send(value, at=at)
    assert await place.judge() == [(2000.0, 2002.0), (3000.0, 5000.0)]


async def test_a_late_reading_of_an_event_that_has_an_alert_makes_no_other(place):
    place.add(HOT)
    await place.send(20.0, at=1000.0)
    place.clock.now = 2000.0
    await place.send(31.0, at=2000.0)
    for at in (1400.0, 1500.0, 1200.0):
        await place.send(31.0, at=at)
    assert await place.judge() == [(2000.0, None)]


async def test_readings_from_before_the_rule_are_not_judged(place):
    await place.send(31.0, at=900.0)
    place.add(HOT)
    await place.send(31.0, at=950.0)
    assert await place.judge() == []


async def test_a_reading_from_a_clock_that_is_ahead_counts_when_it_is_received(place):
    place.add(HOT)
    await place.send(31.0, at=9000.0)
    place.clock.now = 1010.0
    await place.send(20.0, at=1010.0)
    assert await place.judge() == [(1000.0, 1010.0)]


async def test_rules_are_for_chosen_devices_tags_or_all(place):
    for device in ("pi-2", "pi-3"):
        place.registry.add_device(device)
    place.store.call(lambda db: db.execute("INSERT INTO tags VALUES ('pi-2', 'Cellar')"))
    place.add(HOT, devices=("pi-1",), tags=("cellar",))
    for device in ("pi-1", "pi-2", "pi-3"):
        await place.send(31.0, device=device)
    await place.judge()
    assert {alert.device_id for alert in place.store.read(rules.alerts)} == {"pi-1", "pi-2"}


async def test_telemetry_of_a_component_is_told_apart(place):
    place.add(replace(HOT, telemetry="outside*temp"))
    await place.send(31.0)
    assert await place.judge() == []
    await place.send(31.0, component="outside")
    assert await place.judge() == [(1000.0, None)]


async def test_a_changed_rule_starts_again_and_ends_its_alerts(place):
    rule = place.add(HOT)
    await place.send(31.0)
    await place.judge()
    place.clock.now = 1100.0
    rule = place.change(rule, condition=replace(HOT, limit=40.0))
    assert await place.judge() == [(1000.0, 1100.0)]
    place.change(rule, name="Another name")
    await place.send(41.0)
    assert await place.judge() == [(1000.0, 1100.0), (1100.0, None)]


async def test_a_rule_that_is_renamed_while_it_is_judged_loses_nothing(place, monkeypatch):
    rule = place.add(HOT)
    await place.judge()
    await place.send(31.0)
    saved = rules.save

    def rename_first(db, judged):
        monkeypatch.setattr(rules, "save", saved)
        rules.change_rule(db, replace(rule, name="Another name"))
        return saved(db, judged)

    monkeypatch.setattr(rules, "save", rename_first)
    assert await place.judge() == [(1000.0, None)]


async def test_a_deleted_rule_keeps_its_history(place):
    rule = place.add(HOT)
    await place.send(31.0)
    await place.judge()
    place.store.call(rules.delete_rule, rule.number, 1500.0)
    place.rules.changed()
    await place.send(31.0)
    assert await place.judge() == [(1000.0, 1500.0)]


async def test_silence_counts_from_when_a_device_was_heard_until_it_is_heard_again(place):
    place.add(Silence(600.0))
    await place.judge()
    place.clock.now = 5000.0
    assert await place.judge() == []  # It has never connected.
    place.seen["pi-1"] = 5000.0
    for now in range(5020, 5700, 20):
        place.clock.now = float(now)
        await place.judge()
    assert place.alerts() == [(5600.0, None)]
    place.seen["pi-1"] = place.clock.now = 6000.0
    assert await place.judge() == [(5600.0, 6000.0)]


async def test_the_absence_of_central_itself_is_no_silence(place):
    place.add(Silence(600.0))
    await place.send(20.0)
    await place.judge()
    place.clock.now = 1010.0
    await place.judge()
    place.clock.now = 9000.0
    place.restart()
    assert await place.judge() == []
    for now in range(9020, 9700, 20):
        place.clock.now = float(now)
        await place.judge()
    assert place.alerts() == [(pytest.approx(9550.0, abs=60), None)]


async def test_a_blocked_device_is_not_silent(place):
    place.add(Silence(600.0))
    await place.send(20.0)
    await place.judge()
    place.registry.update_device("pi-1", enabled=False)
    place.rules.changed()
    for now in range(1020, 1700, 20):
        place.clock.now = float(now)
        await place.judge()
    assert place.alerts() == []


async def test_a_reported_property_must_keep_a_value_for_the_time_given(place):
    place.add(PropertyValue("sensorStatus", ("ok", "starting"), negated=True, seconds=60.0))
    reports = [(1000.0, "no_answer"), (1030.0, "ok"), (1100.0, "checksum"), (1200.0, "failed")]
    for at, status in reports:
        place.clock.now = at
        await place.registry.patch_reported("pi-1", {"sensorStatus": status})
    await place.registry.patch_reported("pi-1", {"other": 1})
    assert await place.judge() == [(1160.0, None)]
    place.clock.now = 1300.0
    await place.registry.patch_reported("pi-1", {"sensorStatus": None})
    assert await place.judge() == [(1160.0, 1300.0)]


async def test_time_alone_completes_a_property_that_is_not_reported_again(place):
    await place.registry.patch_reported("pi-1", {"sensorStatus": "failed"})
    place.add(PropertyValue("sensorStatus", ("failed",), negated=False, seconds=60.0))
    await place.judge()
    place.restart()
    place.clock.now = 1061.0
    assert await place.judge() == [(1060.0, None)]


async def test_missing_readings_make_an_alert_until_they_arrive_or_are_accepted(place):
    place.add(MissingReadings(2, 60.0))
    run = "0123456789ab"
    for number in (1, 4):
        await place.send(20.0, message_id=f"{run}:{number}")
    await place.judge()
    place.clock.now = 1070.0
    assert await place.judge() == [(1060.0, None)]
    (alert,) = place.store.read(rules.alerts)
    place.store.call(rules.acknowledge, [alert.number], who="me", now=1080.0)
    place.rules.changed()
    place.clock.now = 1200.0
    await place.send(20.0, message_id=f"{run}:8")
    await place.judge()
    place.clock.now = 1210.0
    await place.send(20.0, message_id=f"{run}:5")
    await place.send(20.0, message_id=f"{run}:6")
    assert await place.judge() == [(1060.0, 1080.0)]
    place.clock.now = 1300.0
    assert await place.judge() == [(1060.0, 1080.0)]


async def test_alerts_end_with_what_is_kept_and_go_with_their_device(place):
    place.add(HOT)
    await place.send(31.0)
    await place.judge()
    place.store.call(rules.forget, 2000.0)
    assert place.alerts() == [(1000.0, None)]
    place.clock.now = 1500.0
    await place.send(20.0)
    await place.judge()
    place.store.call(rules.forget, 2000.0)
    assert place.alerts() == []
    await place.send(31.0)
    await place.judge()
    place.registry.delete_device("pi-1")
    assert await place.judge() == []


LASTING = replace(HOT, seconds=60.0)
FIRST, LAST = -62135596800.0, 253402300799.0  # The years 1 and 9999.
times = st.none() | st.sampled_from([FIRST, LAST, 0.0, 1061.0]) | st.floats(900.0, 1200.0)
numbers = st.one_of(
    st.sampled_from(["31", "30", "29", "28", "20", "1e400", "-1e999", "NaN", "-Infinity", "true"]),
    st.sampled_from(["9" * 400, "9" * 5000, '"31"', "null", "[" * 900 + "]" * 900, '{"a": 31}']),
    json_values.map(json.dumps),
)
bodies = st.one_of(
    numbers.map(lambda text: f'{{"temp": {text}}}'),
    numbers.map(lambda text: "{" + "".join(f'"{n}": 0,' for n in range(256)) + f'"temp": {text}}}'),
    st.dictionaries(st.sampled_from(["temp", "humid", "\ud800", "\0"]), json_values).map(
        json.dumps
    ),
    json_values.map(json.dumps),
    st.binary(max_size=20),
)
systems = st.fixed_dictionaries(
    {},
    optional={
        "component": st.sampled_from(["", "outside", "*", '"component"', "\0"]),
        "message_id": st.sampled_from(["x", "0123456789ab:1", "0123456789ab:999999999999999"]),
    },
)
reports = st.dictionaries(st.sampled_from(["sensorStatus", "outside"]), json_values)


class TestNothingEndsTheTask:
    @pytest.fixture
    def everything(self, place):
        """Return a place with rules of each kind, on whatever the messages of a test contain."""
        for telemetry in ("temp", "outside*temp", "\0", "**temp"):
            place.add(replace(HOT, telemetry=telemetry))
            place.add(replace(LASTING, telemetry=telemetry, above=False, limit=30.0))
        for name in ("sensorStatus", "outside*sensorStatus", "*", "outside"):
            place.add(PropertyValue(name, ("ok", 1, True), negated=True, seconds=10.0))
        place.add(Silence(30.0))
        place.add(MissingReadings(1, 0.0))
        return place

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
    @given(st.lists(st.tuples(times, bodies, systems, reports), min_size=1, max_size=6))
    def test_neither_any_message_nor_any_report(self, everything, caplog, arriving):
        caplog.clear()

        async def report(properties):
            with contextlib.suppress(InvalidTwin):
                await everything.registry.patch_reported("pi-1", properties)

        async def arrive():
            everything.clock.now += 7.0
            await asyncio.gather(
                *(everything.send_body(body, at=at, **system) for at, body, system, _ in arriving),
                *(report(properties) for *_, properties in arriving),
            )
            await everything.judge()

        asyncio.run(arrive())
        assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
        newest = everything.store.read(
            lambda db: db.execute("SELECT max(number) FROM messages").fetchone()[0]
        )
        assert everything.rules._message == newest

    async def test_a_late_reading_after_one_that_is_not_stored_by_name(self, place, caplog):
        """Only the first 256 fields of a message are stored by name, and can be compared."""
        place.add(LASTING)
        place.clock.now = 1050.0
        for at in (1010.0, 1050.0):
            many = {**{str(number): 0 for number in range(256)}, "temp": 31.0}
            await place.send_body(json.dumps(many), at=at)
        await place.judge()
        await place.send(20.0, at=1030.0)
        await asyncio.wait_for(place.judge(), 30)
        place.clock.now = 1100.0
        for at in (1040.0, 1100.0):
            await place.send(31.0, at=at)
        assert await place.judge() == [(1100.0, None)]
        assert not caplog.records

    async def test_a_late_reading_after_those_that_were_deleted(self, place, caplog):
        place.add(LASTING)
        place.clock.now = 1050.0
        for at in (1010.0, 1050.0):
            await place.send(31.0, at=at)
        await place.judge()
        place.store.call(lambda db: db.execute("DELETE FROM telemetry"))
        await place.send(20.0, at=1030.0)
        await asyncio.wait_for(place.judge(), 30)
        place.clock.now = 1120.0
        for at in (1060.0, 1119.0, 1120.0):
            await place.send(31.0, at=at)
        assert await place.judge() == [(1120.0, None)]
        assert not caplog.records

    async def test_a_rule_that_fails_is_reported_once_and_others_go_on(
        self, place, monkeypatch, caplog
    ):
        judge = conditions.judge

        def fail(condition, state, time, value):
            if condition.limit == 25.0:
                state.since = state.fired = 1.0
                raise KeyError(value)
            return judge(condition, state, time, value)

        monkeypatch.setattr(conditions, "judge", fail)
        broken = place.add(replace(HOT, limit=25.0))
        place.add(HOT)
        for value in (31.0, 20.0, 32.0):
            place.clock.now += 1.0
            await place.send(value)
        assert await place.judge() == [(1001.0, 1002.0), (1003.0, None)]
        (record,) = caplog.records
        assert record.message.startswith("Cannot judge the rule 'Rule': KeyError in test_alerts.py")
        assert place.store.read(rules.stored_states)[0].rule != broken.number

    async def test_a_message_that_fails_is_passed_over(self, place, monkeypatch, caplog):
        place.add(HOT)
        await place.judge()
        known = alerts_module._readings

        def fail(body, tracks):
            if b"40" in body:
                raise StopIteration
            return known(body, tracks)

        monkeypatch.setattr(alerts_module, "_readings", fail)
        for value in (40.0, 40.0, 31.0):
            place.clock.now += 1.0
            await place.send(value)
        assert await place.judge() == [(1003.0, None)]
        assert len(caplog.records) == 1

    async def test_whatever_else_fails_is_tried_again(self, place, monkeypatch, caplog):
        place.add(HOT)
        await place.send(31.0)
        with monkeypatch.context() as patch:
            patch.setattr(rules, "all_rules", lambda _db: 1 // 0)
            for _ in range(3):
                assert await place.rules.judge() is False
        assert await place.judge() == [(1000.0, None)]
        (record,) = caplog.records
        assert "ZeroDivisionError" in record.message


async def test_a_clock_that_is_ahead_does_not_hide_what_came_before(place):
    """The late reading is compared with when the other one was received."""
    place.add(LASTING)
    for now, at in [(1000.0, 1000.0), (1030.0, 9000.0)]:
        place.clock.now = now
        await place.send(31.0, at=at)
    await place.judge()
    place.clock.now = 1040.0
    await place.send(20.0, at=1010.0)
    await place.judge()
    place.clock.now = 1090.0
    await place.send(31.0, at=1090.0)
    assert await place.judge() == [(1090.0, None)]


async def test_a_late_reading_does_not_end_an_alert_that_a_clock_ahead_shows_to_go_on(place):
    place.add(HOT)
    for now, value, at in [(1000.0, 31.0, 1000.0), (1030.0, 32.0, 9000.0), (1040.0, 20.0, 1010.0)]:
        place.clock.now = now
        await place.send(value, at=at)
        await place.judge()
        place.restart()
    await place.send(31.0, at=1040.0)
    assert await place.judge() == [(1000.0, None)]


async def test_of_two_values_of_one_time_the_first_number_counts(place):
    place.add(HOT)
    await place.send("31", at=1000.0)
    await place.judge()
    place.restart()
    await place.send(31.0, at=1000.0)
    await place.send(20.0, at=1000.0)
    assert await place.judge() == [(1000.0, None)]
    place.clock.now = 1002.0
    await place.send(31.0, at=1002.0)
    await place.send(20.0, at=1000.0)
    await place.send(20.0, at=1001.0)
    assert await place.judge() == [(1000.0, None)]


async def test_after_a_failed_start_the_absence_of_central_is_still_known(place, monkeypatch):
    place.add(Silence(600.0))
    await place.send(20.0)
    await place.judge()
    place.clock.now = 9000.0
    place.restart()

    def fail(*_):
        raise StoreError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(rules, "save", fail)
        await place.judge()
    place.clock.now = 9005.0
    assert await place.judge() == []

import asyncio
import threading
from typing import Any, cast

import pytest
from fakes import HandClock, running, until

from agent.deadline_thread import MAX_ABANDONED
from agent.readings.sampler import Sampler
from hw import ClimateSensor, Reading
from hw.errors import Fault, SensorError
from hw.sensors.policy import Policy


class ScriptedSensor(ClimateSensor):
    """Returns or raises these answers in turn, and repeats the last one."""

    model = "dht22"
    spacing = 2.1
    deadline = 3.0

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def read(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        pass


class Rig:
    def __init__(self, sensor, *, interval=60.0):
        self.clock = HandClock()
        self.readings = []
        self.statuses = []
        self.warnings = []
        self.waits = []
        self.words: list[float] = []
        self.free = None
        self.sampler = Sampler(
            sensor=sensor,
            policy=Policy(
                model=sensor.model,
                spacing=sensor.spacing,
                interval=interval,
                now=self.clock.up,
            ),
            clock=self.clock,
            sink=cast("Any", self),  # The sampler calls two methods of a sink.
            expect=self.words.append,
            wait=self.wait,
        )

    async def add(self, reading, taken):
        self.readings.append((reading, taken))

    def report(self, properties):
        self.statuses.append(properties["sensorStatus"])
        self.warnings.append(properties["sensorWarning"])

    async def wait(self, event, seconds):
        assert seconds > 0
        self.waits.append(seconds)
        if self.free is not None and len(self.waits) > self.free:
            await event.wait()
            return
        self.clock.move(seconds)
        await asyncio.sleep(0)

    def running(self):
        return running(self.sampler.run())


NO_ANSWER = SensorError("DHT sensor not found, check wiring", fault=Fault.NO_ANSWER)


async def test_a_reading_is_stamped_with_the_beginning_of_its_attempt():
    rig = Rig(ScriptedSensor(Reading(21.0, 45.0)))
    async with rig.running():
        await until(lambda: len(rig.readings) >= 3)
    reading, taken = rig.readings[0]
    assert reading == Reading(21.0, 45.0)
    # The first read of a DHT22 returns its previous conversion, which is discarded.
    assert taken.uptime == pytest.approx(1002.1)
    assert taken.wall == pytest.approx(1_700_000_002.1)
    assert [round(taken.uptime) for _, taken in rig.readings[1:3]] == [1062, 1122]


async def test_a_confirmed_step_gives_two_readings_each_with_its_own_time():
    steady, jump = Reading(21.0, 45.0), Reading(35.0, 45.0)
    sensor = ScriptedSensor(steady, steady, steady, jump, jump)
    rig = Rig(sensor, interval=10.0)
    async with rig.running():
        await until(lambda: len(rig.readings) >= 4)
    jumps = [taken.uptime for reading, taken in rig.readings if reading == jump][:2]
    assert jumps[1] - jumps[0] == pytest.approx(2.1)


async def test_a_silent_sensor_gives_a_status_and_no_reading(caplog):
    rig = Rig(ScriptedSensor(NO_ANSWER))
    async with rig.running():
        await until(lambda: rig.statuses)
    assert rig.statuses[0] == "no_answer"
    assert rig.readings == []
    assert "The sensor gives no readings (no_answer): DHT sensor not found" in caplog.text


async def test_recovery_is_logged_once(caplog):
    caplog.set_level("INFO")
    rig = Rig(ScriptedSensor(*[NO_ANSWER] * 6, Reading(21.0, 45.0)))
    async with rig.running():
        await until(lambda: len(rig.readings) >= 3)
    assert rig.statuses == ["no_answer", "ok"]
    assert caplog.text.count("gives readings again") == 1
    assert rig.sampler.last_error is None


async def test_an_implausible_value_is_reported_with_the_reason(caplog):
    rig = Rig(ScriptedSensor(Reading(21.0, 45.0), Reading(21.0, 45.0), Reading(21.4, 1.0)))
    async with rig.running():
        await until(lambda: "implausible" in rig.statuses)
    assert "humidity element" in str(rig.sampler.last_error)
    (warning,) = (one.message for one in caplog.records if one.levelname == "WARNING")
    assert "humidity element" in warning


async def test_a_warning_is_reported_and_logged_once_when_it_changes(caplog):
    caplog.set_level("INFO")
    moving = [Reading(21.0 + n % 2 / 10, 45.0) for n in range(6)]
    stuck = [Reading(20.5, 45.0)] * 800  # With the warm-ups, 400 minutes.
    rig = Rig(ScriptedSensor(*moving, *stuck, Reading(20.6, 45.0)))
    async with rig.running():
        await until(lambda: rig.warnings[-2:] == ["unchanging", "none"])
    assert rig.warnings == ["none", "unchanging", "none"]
    logged = [
        (one.levelname, one.SENSOR_WARNING)
        for one in caplog.records
        if "true" in one.message or "change again" in one.message
    ]
    assert logged == [("WARNING", "unchanging"), ("INFO", "none")]
    assert len(rig.readings) > 400  # They are sent all the same.


async def test_an_unexpected_exception_of_the_driver_counts_as_failed(caplog):
    rig = Rig(ScriptedSensor(ZeroDivisionError("oops")))
    async with rig.running():
        await until(lambda: rig.statuses)
    assert rig.statuses[0] == "failed"
    assert "raised an unexpected exception" in caplog.text


class HangingSensor(ScriptedSensor):
    """Hangs in its first `times` attempts, until it is released."""

    deadline = -0.99  # With DEADLINE_MARGIN: 10 ms.

    def __init__(self, *, times):
        super().__init__(Reading(21.0, 45.0))
        self.release = threading.Event()
        self._times = times

    def read(self):
        self.asked.append(1)
        if len(self.asked) <= self._times:
            self.release.wait(10)
        return super().read()


async def test_a_hanging_driver_does_not_prevent_the_next_attempt():
    sensor = HangingSensor(times=1)
    rig = Rig(sensor)
    async with rig.running():
        await until(lambda: len(sensor.asked) >= 2)
        sensor.release.set()
    assert rig.sampler.policy.counters["failed"] >= 1


async def test_a_driver_that_always_hangs_counts_as_stuck():
    sensor = HangingSensor(times=MAX_ABANDONED)
    rig = Rig(sensor)
    counters = rig.sampler.policy.counters
    async with rig.running():
        # An attempt may fail before its thread has asked the sensor.
        await until(lambda: len(sensor.asked) == MAX_ABANDONED)
        failed = counters["failed"]
        await until(lambda: counters["failed"] > failed + 1)
        words = len(rig.words)
        await until(lambda: counters["failed"] > failed + 10)
        assert len(rig.words) == words
        sensor.release.set()
        await until(lambda: rig.readings)
        assert len(rig.words) > words


async def test_a_new_interval_takes_effect_at_once():
    rig = Rig(ScriptedSensor(Reading(21.0, 45.0)), interval=86400.0)
    rig.free = 1  # The clock stands still while the sampler waits for the second reading.
    async with rig.running():
        await until(lambda: len(rig.waits) == 2)
        assert len(rig.readings) == 1
        rig.free = None
        rig.sampler.set_interval(5)
        await until(lambda: len(rig.readings) >= 3)
    gap = rig.readings[2][1].uptime - rig.readings[1][1].uptime
    assert gap == pytest.approx(5.0)


async def test_a_requested_reading_is_taken_as_soon_as_the_sensor_allows():
    rig = Rig(ScriptedSensor(Reading(21.0, 45.0)), interval=86400.0)
    rig.free = 1  # For the warm-up. The next reading is due tomorrow.
    async with rig.running():
        await until(lambda: rig.readings and len(rig.waits) == 2)
        rig.free = None
        reading, taken = await rig.sampler.read_now()
    assert reading == Reading(21.0, 45.0)
    assert rig.readings[-1] == (reading, taken)  # It is sent like any other.
    assert len(rig.readings) == 2
    assert taken.uptime - rig.readings[0][1].uptime == pytest.approx(2.1)


async def test_a_request_fails_with_the_last_reason_after_five_attempts():
    rig = Rig(ScriptedSensor(Reading(21.0, 45.0), Reading(21.0, 45.0), NO_ANSWER))
    async with rig.running():
        await until(lambda: rig.readings)
        attempts = rig.sampler.policy.counters["attempts"]
        with pytest.raises(SensorError, match="not found"):
            await rig.sampler.read_now()
        assert rig.sampler.policy.counters["attempts"] - attempts >= 5


async def test_a_request_never_returns_an_implausible_reading():
    rig = Rig(ScriptedSensor(Reading(0.0, 0.0)))
    async with rig.running():
        with pytest.raises(SensorError, match="only zeros"):
            await rig.sampler.read_now()
    assert rig.readings == []


async def test_a_cancelled_request_is_removed():
    rig = Rig(ScriptedSensor(Reading(21.0, 45.0)))
    asking = asyncio.create_task(rig.sampler.read_now())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    async with rig.running():
        await until(lambda: len(rig.readings) >= 2)
    assert rig.readings[1][1].uptime - rig.readings[0][1].uptime > 50.0

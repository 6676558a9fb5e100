"""The real adafruit_dht, as our child process uses it, on pulse trains in virtual time."""

import importlib
import random
import sys
from itertools import combinations, pairwise
from types import ModuleType

import pytest
from optional import needs_module
from trains import LIMITS, PulseIn, VirtualTime, frame, frame_of_dht11, train

from hw import Reading
from hw.errors import Fault
from hw.sensors.adafruit_child import attempt, open_device
from hw.sensors.frame import clone_corrected
from hw.sensors.policy import Policy

pytestmark = needs_module("adafruit_dht")


@pytest.fixture
def open_with(monkeypatch):
    """What opens a device with the real adafruit_dht over a CircuitPython made for it."""
    circuit_python = {
        "board": {"D4": 4},
        "digitalio": {"DigitalInOut": object, "Direction": object, "Pull": object},
        "microcontroller": {"Pin": object},
        "pulseio": {"PulseIn": PulseIn},
        "sysv_ipc": {"MessageQueue": object},
    }
    for name, contents in circuit_python.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "adafruit_dht", raising=False)
    monkeypatch.setattr(importlib.import_module("adafruit_dht"), "time", VirtualTime())
    PulseIn.trains.clear()
    yield lambda model: open_device(model, 4)
    sys.modules.pop("adafruit_dht", None)


@pytest.fixture
def played(open_with):
    """What a DHT22's train is taken for: a reading, or the name of a fault."""
    device = open_with("dht22")

    def play(widths):
        PulseIn.trains.append(widths)
        return result_of(attempt(device))

    return play


def result_of(answer):
    if "fault" in answer:
        return answer["fault"]
    return Reading(clone_corrected(answer["temperature"]), answer["humidity"])


def seeded(number):
    return random.Random(number)  # noqa: S311 - to repeat, not to keep secret


def any_reading(rng):
    return Reading(rng.randint(-400, 800) / 10, rng.randint(0, 1000) / 10)


def within_limits(rng):
    return lambda name: rng.randint(*LIMITS[name])


@pytest.mark.parametrize(
    ("data", "reading"),
    [
        ([0x02, 0x8C, 0x01, 0x5F, 0xEE], Reading(35.1, 65.2)),  # The data sheet's examples.
        ([0x02, 0x8C, 0x80, 0x65, 0x73], Reading(-10.1, 65.2)),
        (frame(-40.0, 0.0), Reading(-40.0, 0.0)),
        (frame(80.0, 100.0), Reading(80.0, 100.0)),
        (frame(-10.1, 65.2, twos_complement=True), Reading(-10.1, 65.2)),
        (frame(-0.1, 40.0, twos_complement=True), Reading(-0.1, 40.0)),
        (frame(-40.0, 40.0, twos_complement=True), Reading(-40.0, 40.0)),
    ],
)
def test_a_known_frame_is_read_exactly(played, data, reading):
    assert played(train(data)) == reading


def test_ten_thousand_trains_within_the_data_sheets_limits_are_read_exactly(played):
    rng = seeded(1)
    for _ in range(10_000):
        reading = any_reading(rng)
        clone = rng.random() < 0.3
        data = frame(reading.temperature, reading.humidity, twos_complement=clone)
        assert played(train(data, within_limits(rng))) == reading


def test_a_dht11_is_asked_with_a_longer_pulse_and_read_exactly(open_with):
    rng = seeded(2)
    device = open_with("dht11")
    for _ in range(1000):
        reading = Reading(rng.randint(0, 500) / 10, float(rng.randint(20, 90)))
        PulseIn.trains.append(
            train(frame_of_dht11(reading.temperature, reading.humidity), within_limits(rng))
        )
        assert result_of(attempt(device)) == reading
    assert device.pulse_in.triggered == 18000


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_train_whose_first_edges_were_missed_is_read_exactly(played, missing):
    assert played(train(frame(21.5, 45.0))[missing:]) == Reading(21.5, 45.0)


def test_the_faults_are_told_apart(played):
    good = train(frame(21.5, 45.0))
    assert played([]) == "no_answer"
    assert played(good[:9]) == "no_answer"
    assert played(good[:79]) == "no_answer"
    assert played(train([0x02, 0x8C, 0x01, 0x5F, 0xEF])) == "checksum"
    assert played(train([0x03, 0xE9, 0x01, 0x5F, 0x4C])) == "implausible"  # 100.1 %.
    assert played([*good[:40], 70_000, *good[41:]]) == "checksum"


def test_a_failed_attempt_never_tells_the_value_before_it(played):
    assert played(train(frame(21.5, 45.0))) == Reading(21.5, 45.0)
    for _ in range(5):
        # Virtual time moves by a quarter of a second: within adafruit_dht's 2 s of memory.
        assert played([]) == "no_answer"
    assert played(train(frame(22.5, 45.0))) == Reading(22.5, 45.0)


# With the policy: a room of 21.5 degrees and 45 %, and every kind of damage


ROOM = Reading(21.5, 45.0)


class Judge:
    """Counts the wrong values that adafruit_dht lets pass, and those that the policy lets pass."""

    def __init__(self, played):
        self._played = played
        self._policy = Policy(model="dht22", spacing=2.1, interval=5.0, now=0.0)
        self.good = self.wrong_before = self.wrong_after = 0

    def attempt(self, widths):
        now = self._policy.next_attempt()
        self._policy.began(now)
        result = self._played(widths)
        if isinstance(result, str):
            self._policy.failed(Fault(result), now)
            return
        self.wrong_before += result != ROOM
        for accepted in self._policy.succeeded(result, now):
            if accepted.reading == ROOM:
                self.good += 1
            else:
                self.wrong_after += 1


def print_rates(capsys, damage, trains, judge):
    """Say what was measured, also where the test passes."""
    with capsys.disabled():
        print(
            f"\n{damage}: of {trains} trains, wrong values reported before the policy "
            f"{judge.wrong_before} ({judge.wrong_before / trains:.2%}), after it "
            f"{judge.wrong_after} ({judge.wrong_after / trains:.2%})",
            end=" ",
        )


def test_no_single_flipped_bit_is_ever_reported(played):
    judge = Judge(played)
    for n in range(40):
        data = frame(ROOM.temperature, ROOM.humidity)
        data[n // 8] ^= 1 << n % 8
        judge.attempt(train(data))
        judge.attempt(train(frame(ROOM.temperature, ROOM.humidity)))
    assert (judge.wrong_before, judge.wrong_after) == (0, 0)
    assert judge.good >= 38


def test_two_flipped_bits_that_hide_each_other_from_the_checksum_seldom_pass(played, capsys):
    # Every pair of bits of one frame. What the policy lets pass is within the step that air makes.
    judge = Judge(played)
    pairs = list(combinations(range(40), 2))
    for pair in pairs:
        data = frame(ROOM.temperature, ROOM.humidity)
        for n in pair:
            data[n // 8] ^= 1 << n % 8
        judge.attempt(train(data))
        judge.attempt(train(frame(ROOM.temperature, ROOM.humidity)))
    print_rates(capsys, "two flipped bits", len(pairs), judge)
    assert (judge.wrong_before, judge.wrong_after) == (31, 9)


def test_no_truncated_train_is_ever_reported(played):
    rng = seeded(3)
    judge = Judge(played)
    for _ in range(5000):
        widths = train(frame(ROOM.temperature, ROOM.humidity), within_limits(rng))
        if rng.random() < 0.8:
            first, last = sorted(rng.sample(range(84), 2))
            widths = widths[first:last] if rng.random() < 0.5 else widths[:first] + widths[last:]
        judge.attempt(widths)
    assert judge.wrong_after == 0
    assert judge.good > 500


def test_no_ghost_is_ever_reported(played):
    judge = Judge(played)
    ghosts = [(0.0, 0.0), (0.0, 1.0), (0.0, 2.0), (0.1, 1.0), (1.0, 1.0), (3276.7, 45.0)]
    for ghost in ghosts * 20:
        judge.attempt(train(frame(*ghost)))
        judge.attempt(train(frame(ROOM.temperature, ROOM.humidity)))
    # The last edge lost: the ring begins one late, and every low is taken for a bit.
    judge.attempt(train(frame(ROOM.temperature, ROOM.humidity))[:82])
    assert judge.wrong_before == 121
    assert judge.wrong_after == 0
    assert judge.good == 119


@pytest.mark.parametrize(
    ("sigma", "good", "wrong_before", "wrong_after"),
    [(8.0, 1731, 41, 14), (12.0, 106, 57, 22), (16.0, 6, 23, 8)],
)
def test_jitter_beyond_the_limits_passes_seldom_and_through_the_policy_more_seldom(
    played, capsys, sigma, good, wrong_before, wrong_after
):
    # Measured, of 5,000 trains whose edges are each seen early or late by so many microseconds.
    # What the policy lets pass is near the truth: steps of less than 3 degrees and 10 %.
    rng = seeded(4)
    judge = Judge(played)
    exact = train(frame(ROOM.temperature, ROOM.humidity))
    for _ in range(5000):
        errors = [rng.gauss(0.0, sigma) for _ in range(len(exact) + 1)]
        judge.attempt(
            [
                max(0, round(w + after - before))
                for w, (before, after) in zip(exact, pairwise(errors), strict=True)
            ]
        )
    print_rates(capsys, f"jitter of {sigma:g} us", 5000, judge)
    assert (judge.good, judge.wrong_before, judge.wrong_after) == (
        good,
        wrong_before,
        wrong_after,
    )

"""The real adafruit_dht, used as in the child process, decodes pulse trains in virtual time."""

import importlib
import random
import sys
from itertools import combinations, pairwise
from types import ModuleType

import pytest
from fuzzing import INPUTS
from optional import needs_module
from trains import (
    LIMITS,
    PulseIn,
    VirtualTime,
    frame,
    frame_of_dht11,
    frame_of_dht21,
    train,
    train_in_kernel,
)

from hw import Reading
from hw.errors import Fault, SensorError
from hw.sensors.adafruit_child import attempt, open_device, recorded
from hw.sensors.frame import decode
from hw.sensors.kernel import KernelSensor
from hw.sensors.policy import Policy

pytestmark = needs_module("adafruit_dht")


@pytest.fixture
def open_with(monkeypatch):
    """Return a function that opens adafruit_dht's device on a simulated CircuitPython."""
    circuit_python: dict[str, dict[str, object]] = {
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
    yield lambda model: Device(model, open_device(model, 4))
    sys.modules.pop("adafruit_dht", None)


class Device:
    """adafruit_dht's device for a model, read as in the child process and its parent."""

    def __init__(self, model, device):
        self.model = model
        self.device = device
        self._recording = recorded(device)

    def play(self, widths):
        """Decode a train to a reading or the name of a fault."""
        PulseIn.trains.append(widths)
        answer = attempt(self.device, self._recording)
        if "fault" in answer:
            return answer["fault"]
        try:
            return decode(self.model, bytes(answer["frame"]))
        except SensorError as error:
            return error.fault.value


class KernelDevice:
    """The kernel's driver for a model, read by KernelSensor."""

    def __init__(self, model, sysfs):
        self.model = model
        self._files: dict[str, str] = {}
        (sysfs / "bus" / "iio" / "devices" / "iio:device0").mkdir(parents=True)
        self._sensor = KernelSensor(
            model=model,
            pin=4,
            sysfs=sysfs,
            read_text=lambda path: self._files.get(path.name, "dht11@4"),
        )

    def play(self, widths):
        """Decode a train to a reading or the name of a fault."""
        values = train_in_kernel(widths)
        if values == "no_answer":
            return values
        if values is None:
            return "checksum"
        self._files = dict(
            zip(("in_temp_input", "in_humidityrelative_input"), map(str, values), strict=True)
        )
        try:
            return self._sensor.read()
        except SensorError as error:
            return error.fault.value


@pytest.fixture
def played(open_with):
    """Return a function that decodes a DHT22's train to a reading or the name of a fault."""
    return open_with("dht22").play


def seeded(number):
    return random.Random(number)  # noqa: S311 - for repeatable tests, not for secrets


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
def test_the_data_sheets_frames_are_decoded(played, data, reading):
    assert played(train(data)) == reading


def test_ten_thousand_trains_within_the_data_sheets_limits_are_decoded(played):
    rng = seeded(1)
    for _ in range(10_000):
        reading = any_reading(rng)
        clone = rng.random() < 0.3
        data = frame(reading.temperature, reading.humidity, twos_complement=clone)
        assert played(train(data, within_limits(rng))) == reading


def test_a_dht11_gets_a_longer_start_pulse_and_is_decoded_with_tenths_and_sign(open_with):
    rng = seeded(2)
    dht11 = open_with("dht11")
    for _ in range(1000):
        reading = Reading(rng.randint(-200, 600) / 10, float(rng.randint(5, 95)))
        frame = frame_of_dht11(reading.temperature, reading.humidity)
        assert dht11.play(train(frame, within_limits(rng))) == reading
    assert dht11.device.pulse_in.triggered == 18000


@pytest.mark.parametrize(
    ("data", "reading"),
    [
        ("2D 00 05 83 B5", Reading(-5.3, 45.0)),
        ("2D 00 00 82 AF", Reading(-0.2, 45.0)),
        ("2D 00 05 80 B2", Reading(-5.0, 45.0)),
        ("2D 00 0A 81 B8", Reading(-10.1, 45.0)),
        ("2D 00 00 80 AD", Reading(0.0, 45.0)),
        ("35 00 18 00 4D", Reading(24.0, 53.0)),  # The old data sheet's example.
        ("35 00 18 04 51", Reading(24.4, 53.0)),  # The current one's.
    ],
)
def test_both_kinds_of_dht11_are_decoded(open_with, data, reading):
    assert open_with("dht11").play(train(bytes.fromhex(data))) == reading


def test_no_frame_of_a_dht11_below_zero_is_decoded_as_a_positive_value(open_with):
    dht11 = open_with("dht11")
    for low in range(0x80, 0x100):
        data = [45, 0, 5, low]
        result = dht11.play(train([*data, sum(data) & 0xFF]))
        assert result == "implausible" or result.temperature == -5.0 - (low & 0x0F) / 10


def test_an_am2301_with_its_zeros_is_decoded_as_a_dht21(open_with):
    rng = seeded(5)
    dht21 = open_with("dht21")
    for missing in [0, 1, 2, *[0] * 1000]:
        reading = any_reading(rng)
        widths = train(frame_of_dht21(reading.temperature, reading.humidity), within_limits(rng))
        assert dht21.play(widths[missing:]) == reading
    assert dht21.device.pulse_in.triggered == 1000


def test_an_am2301_is_never_decoded_as_a_dht22(open_with):
    dht22 = open_with("dht22")
    for tenths in range(-400, 801):
        assert dht22.play(train(frame_of_dht21(tenths / 10, 51.1))) in {"checksum", "implausible"}


# A configured model that is not the sensor's


def test_no_frame_of_a_dht22_is_decoded_as_a_dht11(open_with):
    dht11 = open_with("dht11")
    for tenths in range(1001):
        assert dht11.play(train(frame(21.5, tenths / 10))) == "implausible"


def test_no_frame_of_a_dht11_is_decoded_as_a_dht22(open_with):
    dht22 = open_with("dht22")
    for percent in range(5, 96):
        assert dht22.play(train(frame_of_dht11(21.5, percent))) == "implausible"


# Damage


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_train_without_its_first_edges_is_decoded(played, missing):
    assert played(train(frame(21.5, 45.0))[missing:]) == Reading(21.5, 45.0)


def test_each_damage_has_its_fault(played):
    good = train(frame(21.5, 45.0))
    assert played([]) == "no_answer"
    assert played(good[:9]) == "no_answer"
    assert played(good[:79]) == "no_answer"
    assert played(train([0x02, 0x8C, 0x01, 0x5F, 0xEF])) == "checksum"
    assert played(train([0x04, 0x01, 0x01, 0x5F, 0x65])) == "implausible"  # 102.5 %.
    assert played([*good[:40], 70_000, *good[41:]]) == "checksum"
    assert played(train([0xC2, 0x01, 0xD7, 0x00, 0x9A])) == "implausible"  # Bytes swapped.
    assert played([*good[:43], 52, *good[44:]]) == "checksum"  # Between the pulses of 0 and 1.
    assert played(train([0xFF] * 5)) == "checksum"
    assert played(train([0] * 5)) == "implausible"


def test_a_failed_attempt_never_returns_the_previous_value(played):
    assert played(train(frame(21.5, 45.0))) == Reading(21.5, 45.0)
    for _ in range(5):
        # Virtual time passes by 0.25 s, which is within adafruit_dht's cache time of 2 s.
        assert played([]) == "no_answer"
    assert played(train(frame(22.5, 45.0))) == Reading(22.5, 45.0)


# With the policy: a room of 21.5 °C and 45 %, and every kind of damage


ROOM = Reading(21.5, 45.0)
FRAME_OF = {"dht22": frame, "dht21": frame_of_dht21, "dht11": frame_of_dht11}


def frame_of(model):
    return FRAME_OF[model](ROOM.temperature, ROOM.humidity)


class Judge:
    """Count the wrong values that pass the decoder, and those that pass the policy."""

    def __init__(self, device):
        self._device = device
        self._policy = Policy(model=device.model, spacing=2.1, interval=5.0, now=0.0)
        self.wrong_before = self.good = self.wrong_after = 0

    def attempt(self, widths):
        now = self._policy.next_attempt()
        self._policy.began(now)
        result = self._device.play(widths)
        if isinstance(result, str):
            self._policy.failed(Fault(result), now)
            return
        self.wrong_before += result != ROOM
        for accepted in self._policy.succeeded(result, now):
            if accepted.reading == ROOM:
                self.good += 1
            else:
                self.wrong_after += 1


@pytest.fixture
def judge(open_with):
    return Judge(open_with("dht22"))


def jitter(sigma):
    """Move each edge by an error with this standard deviation, in microseconds."""

    def damage(rng, data):
        exact = train(data)
        errors = [rng.gauss(0.0, sigma) for _ in range(len(exact) + 1)]
        return [
            max(0, round(width + after - before))
            for width, (before, after) in zip(exact, pairwise(errors), strict=True)
        ]

    return damage


def two_bits(rng, data):
    """Flip two bits."""
    data = list(data)
    for n in rng.sample(range(40), 2):
        data[n // 8] ^= 1 << n % 8
    return train(data)


def burst(rng, data):
    """Replace 2 to 10 neighbouring bits by noise."""
    length = rng.randint(2, 10)
    noise = rng.getrandbits(length) << rng.randint(0, 40 - length)
    value = int.from_bytes(bytes(data[:5]), "big") ^ noise
    return train([*value.to_bytes(5, "big"), *data[5:]])


def missed_pulse(rng, data):
    """Miss a pulse that was too short for the helper's polling, so two edges are lost."""
    widths = train(data)
    n = rng.randrange(1, len(widths) - 1)
    return [*widths[: n - 1], sum(widths[n - 1 : n + 2]), *widths[n + 2 :]]


def inserted_pulse(rng, data):
    """Split a pulse in two by a disturbance of 3 us."""
    widths = train(data)
    n = rng.randrange(len(widths))
    before = rng.randint(1, widths[n] - 4)
    return [*widths[:n], before, 3, widths[n] - before - 3, *widths[n + 1 :]]


def all_noise(rng, data):
    """Replace every bit."""
    return train([*rng.randbytes(5), *data[5:]])


DAMAGES = {
    "jitter of 5 us": jitter(5.0),
    "jitter of 8 us": jitter(8.0),
    "jitter of 12 us": jitter(12.0),
    "jitter of 16 us": jitter(16.0),
    "two bits flipped": two_bits,
    "a burst of 2 to 10 bits": burst,
    "a pulse missed": missed_pulse,
    "a pulse inserted": inserted_pulse,
    "noise in all bits": all_noise,
}
TRAINS = min(INPUTS, 10_000)


@pytest.mark.fuzz
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("model", ["dht22", "dht11"])
@pytest.mark.parametrize("driver", ["adafruit", "kernel"])
def test_damaged_trains_rarely_give_a_wrong_value(open_with, tmp_path, capsys, driver, model, kind):
    device = open_with(model) if driver == "adafruit" else KernelDevice(model, tmp_path)
    rng = seeded(4)
    judge = Judge(device)
    data = frame_of(model)
    for _ in range(TRAINS):
        if not kind.startswith("jitter"):  # Jitter is in every train, other damage in one of two.
            judge.attempt(train(data))
        judge.attempt(DAMAGES[kind](rng, data))
    with capsys.disabled():
        print(
            f"\n| {driver} | {model} | {kind} | {TRAINS:,} | {judge.wrong_before} | "
            f"{judge.wrong_after} |",
            end=" ",
        )
    assert judge.wrong_after <= (0.02 if kind == "two bits flipped" else 0.006) * TRAINS


def test_no_frame_with_one_flipped_bit_is_accepted(judge):
    for n in range(40):
        data = frame(ROOM.temperature, ROOM.humidity)
        data[n // 8] ^= 1 << n % 8
        judge.attempt(train(data))
        judge.attempt(train(frame(ROOM.temperature, ROOM.humidity)))
    assert (judge.wrong_before, judge.wrong_after) == (0, 0)
    assert judge.good >= 38


def test_of_all_pairs_of_flipped_bits_few_pass(judge):
    for pair in combinations(range(40), 2):
        data = frame_of("dht22")
        for n in pair:
            data[n // 8] ^= 1 << n % 8
        judge.attempt(train(data))
        judge.attempt(train(frame_of("dht22")))
    # The policy passes only steps that air can make.
    assert (judge.wrong_before, judge.wrong_after) == (31, 9)


def test_no_truncated_train_is_accepted(judge):
    rng = seeded(3)
    for _ in range(5000):
        widths = train(frame(ROOM.temperature, ROOM.humidity), within_limits(rng))
        if rng.random() < 0.8:
            first, last = sorted(rng.sample(range(84), 2))
            widths = widths[first:last] if rng.random() < 0.5 else widths[:first] + widths[last:]
        judge.attempt(widths)
    assert judge.wrong_after == 0
    assert judge.good > 500


def test_no_ghost_is_accepted(judge):
    ghosts = [(0.0, 0.0), (0.0, 1.0), (0.0, 2.0), (0.1, 1.0), (1.0, 1.0), (3276.7, 45.0)]
    for ghost in ghosts * 20:
        judge.attempt(train(frame(*ghost)))
        judge.attempt(train(frame(ROOM.temperature, ROOM.humidity)))
    # Without the last edge, the ring begins one edge late, and each low is decoded as a bit.
    judge.attempt(train(frame(ROOM.temperature, ROOM.humidity))[:82])
    assert judge.wrong_before == 100  # Of 121: zeros are refused before the policy.
    assert judge.wrong_after == 0
    assert judge.good == 119

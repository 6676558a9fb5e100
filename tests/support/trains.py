"""Frames of a DHT, and the widths of their pulses in microseconds."""

from collections import deque
from types import SimpleNamespace
from typing import ClassVar


def frame(temperature, humidity, *, twos_complement=False):
    """Return the five bytes of a DHT22's frame."""
    tenths = round(temperature * 10)
    if tenths < 0:
        tenths = tenths & 0xFFFF if twos_complement else 0x8000 | -tenths
    data = [*round(humidity * 10).to_bytes(2, "big"), *tenths.to_bytes(2, "big")]
    return [*data, sum(data) & 0xFF]


def frame_of_dht11(temperature, humidity):
    """Return the five bytes of the frame of a DHT11 that sends tenths and the sign."""
    degrees, tenths = divmod(round(abs(temperature) * 10), 10)
    data = [int(humidity), 0, degrees, tenths | (0x80 if temperature < 0 else 0)]
    return [*data, sum(data) & 0xFF]


def frame_of_dht21(temperature, humidity):
    """Return the eight bytes of an AM2301: a DHT22's frame and three zeros."""
    return [*frame(temperature, humidity), 0, 0, 0]


def in_kernel(data, *, is_newer=True):
    """Return what the kernel's driver makes of a frame, in thousandths, or None for EIO.

    Linux decodes only a DHT11 without tenths. `is_newer` is Raspberry Pi OS since November 2024:
    https://github.com/raspberrypi/linux/blob/rpi-6.6.y/drivers/iio/humidity/dht11.c
    """
    humidity, humidity_low, degrees, degrees_low, checksum = data
    if sum(data[:4]) & 0xFF != checksum:
        return None
    if humidity < 4:
        tenths = ((degrees & 0x7F) << 8) + degrees_low
        return tenths * (-100 if degrees & 0x80 else 100), ((humidity << 8) + humidity_low) * 100
    most = 9 if is_newer else 0
    if degrees_low <= most and humidity_low <= most:
        return degrees * 1000 + degrees_low * 100, humidity * 1000 + humidity_low * 100
    return None


KERNEL_EDGES = 83  # It ignores later ones.


def train_in_kernel(widths):
    """Return what the kernel's driver makes of a train: two values, None, or `no_answer`."""
    edges = min(len(widths) + 1, KERNEL_EDGES)
    if edges < KERNEL_EDGES - 1:
        return "no_answer"
    for offset in range(edges - KERNEL_EDGES + 2, -1, -1):
        if offset % 2 == 0:  # At the others, it takes lows for highs, and notices.
            bits = "".join(str(int(widths[offset + 2 * bit + 1] > 49)) for bit in range(40))
            values = in_kernel(list(int(bits, 2).to_bytes(5, "big")))
            if values is not None:
                return values
    return None


def bits_of(data):
    return [byte >> bit & 1 for byte in data for bit in range(7, -1, -1)]


TYPICAL = {"response": 80, "low": 50, "zero": 26, "one": 70, "end": 50}
LIMITS = {"response": (75, 85), "low": (48, 55), "zero": (22, 30), "one": (68, 75), "end": (45, 55)}
"""From the AM2302's data sheet."""


def train(data, width=TYPICAL.__getitem__):
    """Return the pulse widths of these bytes. `width` returns that of each kind of pulse."""
    widths = [width("response"), width("response")]
    for bit in bits_of(data):
        widths += [width("low"), width("one" if bit else "zero")]
    return [*widths, width("end")]


class PulseIn:
    """CircuitPython's PulseIn with a simulated sensor. Each trigger plays the next train."""

    trains: ClassVar[deque[list[int]]] = deque()

    def __init__(self, pin, maxlen, *, idle_state):
        assert idle_state is True
        self._ring: deque[int] = deque(maxlen=maxlen)

    def pause(self):
        pass

    def clear(self):
        self._ring.clear()

    def resume(self, trigger=0):
        self.triggered = trigger
        self._ring.extend(self.trains.popleft())

    def __len__(self):
        return len(self._ring)

    def popleft(self):
        return self._ring.popleft()

    def deinit(self):
        pass


class VirtualTime(SimpleNamespace):
    """A replacement for the module time. Only `sleep` makes time pass."""

    def __init__(self):
        super().__init__(now=1000.0)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

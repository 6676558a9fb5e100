"""The child process in which adafruit_dht reads the sensor.

`hw.sensors.adafruit` starts and supervises it:

    python -P adafruit_child.py MODEL PIN

It prints {"ready": true} when the sensor's line is open. It answers each line of its input with
{"frame": [1, 194, 0, 215, 154]}, the bytes of a frame whose checksum is right, or with
{"fault": "checksum", "error": "..."}. At the end of its input it exits, and kills the helper that
Blinka started.

The side effects of Blinka on a process stay in this one: prompts, prints, a handler for SIGTERM, a
changed working directory, and an endless wait for a helper that died.
"""

import functools
import importlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUEUE_MODE = 0o611
"""The mode of the message queue between Blinka and its helper. The kernel ignores the bits for
execution. They mark the queue as ours, so that `sweep_queues` can remove it."""

PULSE_IN = "adafruit_blinka.microcontroller.bcm283x.pulseio.PulseIn"

PIN_SEARCH = "adafruit_blinka.microcontroller.generic_linux.raspberry_pi_pin"

FAULTS = {
    "DHT sensor not found": "no_answer",
    "A full buffer was not returned": "no_answer",
    "Checksum did not validate": "checksum",
}
"""The beginning of adafruit_dht's RuntimeErrors, and the fault of each."""

IMPLAUSIBLE = "Received unplausible data"  # The checksum is right, but humidity is above 100 %.
UNCLEAR = range(46, 57)
"""Microseconds. The high pulse of 0 has 22 to 30, that of 1 has 68 to 75 (AM2302's data sheet), and
adafruit_dht separates them at 51. A frame with a pulse near that is damaged, even if its checksum
of 8 bits is right."""

CLASSES = {"dht22": "DHT22", "dht21": "DHT21", "dht11": "DHT11"}

Answer = dict[str, Any]


def main() -> None:
    """Answer requests until the input ends."""
    model, pin = sys.argv[1], int(sys.argv[2])
    # systemd signals every process of a service, but the daemon ends this one by closing its input.
    # The helper would inherit SIG_IGN and ignore its own termination, so install a handler instead.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Keep prints out of the answers.

    def answer(answer: Answer) -> None:
        answers.write(json.dumps(answer) + "\n")

    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # In a thread, because the main thread must see the end of the input while Blinka waits. Blinka
    # cannot install signal handlers there, either.
    threading.Thread(target=serve, args=(model, pin, requests.get, answer), daemon=True).start()
    for line in sys.stdin.buffer:
        requests.put(line)
    end()


def serve(
    model: str, pin: int, request: Callable[[], object], answer: Callable[[Answer], None]
) -> None:
    """Open the sensor, and answer each request with one attempt."""
    try:
        device = open_device(model, pin)
        recording = recorded(device)
    except Exception as error:  # noqa: BLE001 - the parent reports any error
        clean_up()  # Before the answer, because the parent then kills this process.
        answer(error_answer(error))
        return
    answer({"ready": True})
    while True:
        request()
        answer(attempt(device, recording))


def open_device(model: str, pin: int) -> Any:
    """Return adafruit_dht's object for the sensor on this GPIO line."""
    ipc: Any = importlib.import_module("sysv_ipc")
    ipc.MessageQueue = functools.partial(marked_queue, ipc.MessageQueue)
    with suppress(ImportError, AttributeError):  # Blinka before 10.0 does not search for the chip.
        search: Any = importlib.import_module(PIN_SEARCH)
        search._chip_paths = functools.partial(each_chip_once, search._chip_paths)  # noqa: SLF001 - there is no public name
    board = importlib.import_module("board")
    adafruit_dht = importlib.import_module("adafruit_dht")
    if not adafruit_dht._USE_PULSEIO:  # noqa: SLF001 - there is no public name
        # Bit-banging from Python misses the first edges on a Pi.
        raise RuntimeError("Blinka does not recognize this board as a Raspberry Pi")
    return getattr(adafruit_dht, CLASSES[model])(getattr(board, f"D{pin}"))


def each_chip_once(paths: Callable[[], list[Path]]) -> list[Path]:
    """Return the first of Blinka's `paths` for each GPIO chip.

    On a Pi 5, /dev/gpiochip4 is a link to gpiochip0, which Blinka knows. In a service with a /dev
    of its own (deploy/clock.conf) both are devices, and Blinka refuses a pin with two chips.
    """
    chips: dict[int, Path] = {}
    for path in paths():
        chips.setdefault(path.stat().st_rdev, path)
    return list(chips.values())


@dataclass
class Recording:
    """What the device received in an attempt."""

    frame: list[int] = field(default_factory=list)
    is_clear: bool = True  # No pulse was between those of 0 and 1.

    def clear(self) -> None:
        self.frame.clear()
        self.is_clear = True


def recorded(device: Any) -> Recording:
    """Return a recording to which the device from now on adds each byte that it receives.

    The device's public values lack the sign of a DHT11 below zero: of `2D 00 05 83`, which is -5.3
    degrees, `adafruit_dht.DHT11.temperature` makes 5.3.
    """
    to_byte = device._pulses_to_binary  # noqa: SLF001 - there is no public name
    recording = Recording()

    def record(pulses: Any, start: int, stop: int) -> int:
        byte: int = to_byte(pulses, start, stop)
        recording.frame.append(byte)
        if any(pulse in UNCLEAR for pulse in pulses[start + 1 : stop : 2]):
            recording.is_clear = False
        return byte

    device._pulses_to_binary = record  # noqa: SLF001 - the same
    return recording


def marked_queue(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Create a message queue with `QUEUE_MODE`, and become its last user."""
    made = make(*arguments, mode=QUEUE_MODE, **options)
    made.send(b"mine")
    made.receive()
    return made


def attempt(device: Any, recording: Recording) -> Answer:
    """Make one attempt. `recording` is what `recorded` returned for this device."""
    helper = getattr(getattr(device, "pulse_in", None), "_process", None)
    if helper is not None and helper.poll() is not None:
        # Reading would wait forever.
        return {"fault": "failed", "error": "the helper libgpiod_pulsein ended"}
    # Within 2 s of the last attempt, even a failed one, adafruit_dht does nothing. The policy
    # keeps the spacing.
    device._last_called = 0  # noqa: SLF001 - there is no public name
    recording.clear()
    frame = {"frame": recording.frame}
    try:
        device.measure()
    except OverflowError as error:
        # A pulse of more than 65 ms: the frame was cut short, or the clock was set.
        return {"fault": "checksum", "error": str(error)}
    except Exception as error:  # noqa: BLE001 - the parent reports any error
        if not str(error).startswith(IMPLAUSIBLE):
            return error_answer(error) | frame
    return frame if recording.is_clear else {"fault": "checksum", "error": "unclear pulses"} | frame


def error_answer(error: Exception) -> Answer:
    """Return the answer for an error."""
    text = str(error)
    if isinstance(error, PermissionError):
        fault = "no_permission"
    else:
        known = (fault for start, fault in FAULTS.items() if text.startswith(start))
        fault = next(known, "failed")
    return {"fault": fault, "error": f"{type(error).__name__}: {text}"}


def clean_up() -> None:
    """Make Blinka remove its queues and end its helpers."""
    pulse_in = sys.modules.get(PULSE_IN)
    if pulse_in is not None:
        with suppress(Exception):  # The parent removes queues that are left.
            pulse_in.final()


def end() -> None:
    """Exit, and kill all processes that were started from here."""
    clean_up()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()

"""The child process in which adafruit_dht reads the sensor.

`hw.sensors.adafruit` starts and supervises it:

    python -P adafruit_child.py MODEL PIN

It answers {"ready": true} once the sensor's line is open, then each line of its input with
{"temperature": 21.5, "humidity": 45.0} or {"fault": "checksum", "error": "..."}. At the end of
its input it ends, with the helper that Blinka started.

Everything that Blinka does to a process stays in here: its prompts and prints, its handler for
SIGTERM, its change of directory, its waiting for ever for a helper that died.
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
from typing import Any

QUEUE_MODE = 0o611
"""The permissions of the message queue between Blinka and its helper. The bits for execution mean
nothing to the kernel; they mark the queue as ours, to be swept if it is left behind."""

PULSE_IN = "adafruit_blinka.microcontroller.bcm283x.pulseio.PulseIn"

FAULTS = {
    "DHT sensor not found": "no_answer",
    "A full buffer was not returned": "no_answer",
    "Checksum did not validate": "checksum",
    "Received unplausible data": "implausible",
}
"""How adafruit_dht's RuntimeErrors begin, and which fault each is."""

Answer = dict[str, Any]


def main() -> None:
    """Serve until the input ends."""
    model, pin = sys.argv[1], int(sys.argv[2])
    # A service manager's signal goes to every process; ours end when the daemon has let them.
    # A handler rather than SIG_IGN, which the helper would inherit, and then outlive its terminate.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Prints are not answers.

    def answer(answer: Answer) -> None:
        answers.write(json.dumps(answer) + "\n")

    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # In a thread: this one must see the end of the input while Blinka waits, perhaps for ever; and
    # Blinka installs no signal handler outside of the main thread.
    threading.Thread(target=serve, args=(model, pin, requests.get, answer), daemon=True).start()
    for line in sys.stdin.buffer:
        requests.put(line)
    end()


def serve(
    model: str, pin: int, request: Callable[[], object], answer: Callable[[Answer], None]
) -> None:
    """Open the sensor, then answer each request with one attempt."""
    try:
        device = open_device(model, pin)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side must know
        clean_up()  # First: the other side kills this process when it hears of it.
        answer(told(error))
        return
    answer({"ready": True})
    while True:
        request()
        answer(attempt(device))


def open_device(model: str, pin: int) -> Any:
    """Return adafruit_dht's object for the sensor on this GPIO."""
    ipc: Any = importlib.import_module("sysv_ipc")
    ipc.MessageQueue = functools.partial(queue_of_ours, ipc.MessageQueue)
    board = importlib.import_module("board")
    adafruit_dht = importlib.import_module("adafruit_dht")
    if not adafruit_dht._USE_PULSEIO:  # noqa: SLF001 - nothing public tells
        # Its other way polls the line from Python, and misses the first edges on a Pi.
        raise RuntimeError("Blinka does not take this board for a Raspberry Pi")
    kind = adafruit_dht.DHT11 if model == "dht11" else adafruit_dht.DHT22
    return kind(getattr(board, f"D{pin}"))


def queue_of_ours(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Make a message queue, marked, and use it: its last user then tells whose it is."""
    made = make(*arguments, mode=QUEUE_MODE, **options)
    made.send(b"mine")
    made.receive()
    return made


def attempt(device: Any) -> Answer:
    """Make one attempt, now."""
    helper = getattr(getattr(device, "pulse_in", None), "_process", None)
    if helper is not None and helper.poll() is not None:
        # Asking it would wait for ever.
        return {"fault": "failed", "error": "the helper libgpiod_pulsein ended"}
    # Asked again within 2 s, adafruit_dht returns the last value, also when the attempt between
    # failed. Our caller minds the spacing, so here every attempt is to be one.
    device._last_called = 0  # noqa: SLF001 - there is no other way
    device._temperature = device._humidity = None  # noqa: SLF001 - so that no old value is told
    try:
        device.measure()
        # Not by its properties, which would measure again if this took more than 2 s.
        return {
            "temperature": float(device._temperature),  # noqa: SLF001 - see above
            "humidity": float(device._humidity),  # noqa: SLF001 - see above
        }
    except OverflowError as error:
        # A pulse of more than 65 ms: the frame was cut, or the clock was set.
        return {"fault": "checksum", "error": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side must know
        return told(error)


def told(error: Exception) -> Answer:
    """Put an error into an answer."""
    text = str(error)
    if isinstance(error, PermissionError):
        fault = "no_permission"
    else:
        known = (fault for start, fault in FAULTS.items() if text.startswith(start))
        fault = next(known, "failed")
    return {"fault": fault, "error": f"{type(error).__name__}: {text}"}


def clean_up() -> None:
    """Let Blinka remove its queues and end its helpers."""
    pulse_in = sys.modules.get(PULSE_IN)
    if pulse_in is not None:
        with suppress(Exception):  # Whatever is left is swept by the other side.
            pulse_in.final()


def end() -> None:
    """End, with every process that was started from here."""
    clean_up()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()

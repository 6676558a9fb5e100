"""A DHT22, DHT21 or DHT11 on a GPIO line, read by adafruit_dht and Blinka in a child process.

Connect the sensor's data pin to the line, with a pull-up resistor (4.7 to 10 kOhm) to 3.3 V. About
one attempt in five fails, because Blinka's helper polls the line. On a busy machine more attempts
fail, unless the helper may use real-time priority (RLIMIT_RTPRIO).

Blinka waits forever for a helper that died, changes signal handlers, and prompts the user. So it
runs in a child process (`hw.sensors.adafruit_child`) with a deadline for each attempt. A child that
misses its deadline is killed with its helper, and restarted with an increasing delay.
"""

import ctypes
import importlib.util
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from hw.contracts import ClimateSensor, Reading
from hw.errors import CABLE, DriverError, Fault, SensorError, damaged_frame, no_answer
from hw.gpio import LINES, is_raspberry_pi
from hw.sensors.adafruit_child import QUEUE_MODE
from hw.sensors.child_process import Child, python_for_programs
from hw.sensors.frame import END_OF_DHT21, HINT_DHT21, decode

PACKAGES = {
    "adafruit_dht": "adafruit-circuitpython-dht",
    "board": "Adafruit-Blinka",
    "gpiod": "gpiod",
    "sysv_ipc": "sysv_ipc",
}
"""The modules that the child imports, and the package of each."""

WORKER = str(Path(__file__).with_name("adafruit_child.py"))

START_DEADLINE = 20.0  # Seconds to import Blinka, which a Pi Zero does from a slow card.
READ_DEADLINE = 4.0  # Seconds for an attempt; a good one takes a third of one.
GRACE = 1.0  # Seconds for the child to exit by itself.
LONGEST_BACKOFF = 60.0  # Seconds.

SPACING = {"dht22": 2.1, "dht21": 2.1, "dht11": 1.1}
"""Seconds: 2 s and 1 s in the data sheets, with a margin."""

IPC_RMID = 0  # <linux/ipc.h>
MODES = {int(f"{mode:o}") for mode in (QUEUE_MODE, 0)}  # As printed in the kernel's table.
UNUSED = 60.0  # Seconds. A queue that is being set up is younger.

HINT = {
    "dht22": '; a DHT11 needs driver = "dht11"',
    "dht21": '; a DHT11 needs driver = "dht11"',
    "dht11": "",
}
"""What to add if the sensor does not answer: a DHT11 needs a longer start signal."""


def check_machine(pin: int, *, root: Path = Path("/")) -> None:
    """Raise `DriverError` if this is not a Raspberry Pi, or if packages are missing."""
    if pin not in LINES:
        raise DriverError(f"The header has no GPIO {pin!r}. Choose 0 to 27.")
    if not is_raspberry_pi(root):
        raise DriverError(
            "This machine is not a Raspberry Pi, so it has no pins for a DHT22 or DHT11."
        )
    missing = [package for module, package in PACKAGES.items() if not _is_installed(module)]
    if missing:
        raise DriverError(f"Not installed: {', '.join(missing)}.", packages=missing)


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


class AdafruitSensor(ClimateSensor):
    """The sensor on GPIO `pin` (BCM). `model` is `dht22`, `dht21` or `dht11`.

    The first `read` starts the child process. Until it has started, `deadline` is longer.
    `command` and `clock` are for tests.
    """

    def __init__(
        self,
        *,
        model: str,
        pin: int,
        command: Sequence[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.spacing = SPACING[model]
        self.deadline = START_DEADLINE + READ_DEADLINE
        self._pin = pin
        self._command = command or [*python_for_programs(), WORKER, model, str(pin)]
        self._clock = clock
        self._reading = threading.Lock()
        self._child: Child | None = None
        self._losses = 0  # Children in a row that ended without an answer of the sensor.
        self._not_before = clock()
        self._why = SensorError("The sensor has not been read yet.", fault=Fault.FAILED)

    def read(self) -> Reading:
        with self._reading:
            self._must_be_open()
            try:
                child = self._child or self._start()
                child.send("read")
                answer = child.receive(READ_DEADLINE)
                fault = Fault(answer["fault"]) if "fault" in answer else None
                frame = bytes(list(answer.get("frame", ())))
                if fault is None:
                    reading = decode(self.model, frame)
            except (OSError, EOFError, LookupError, TypeError, ValueError) as error:
                self._lost(error)
            if fault is not None:
                self._failed(fault, str(answer.get("error")), frame)
            self._losses = 0
            return reading

    def close(self) -> None:
        self._closed = True
        if not self._reading.acquire(blocking=False):
            child = self._child
            if child is not None:
                child.kill()  # So `read` in another thread returns.
            self._reading.acquire()
        try:
            self._end_child(GRACE)
        finally:
            self._reading.release()

    def _start(self) -> Child:
        wait = self._not_before - self._clock()
        if wait > 0.0:
            raise SensorError(
                f"{self._why} (The driver restarts in {wait:.0f} s.)",
                fault=self._why.fault,
            )
        sweep_queues()
        self._child = child = Child(
            self._command, environment={**os.environ, "BLINKA_SKIP_DEPENDENCY_CHECK": "1"}
        )
        self._must_be_open()  # `close` may not have seen this child.
        answer = child.receive(START_DEADLINE)
        if "fault" in answer:
            self._failed(Fault(answer["fault"]), str(answer.get("error")))
        if answer != {"ready": True}:
            raise ValueError(f"the child process began with {answer}")
        self.deadline = READ_DEADLINE
        return child

    def _failed(self, fault: Fault, detail: str, frame: bytes = b"") -> NoReturn:
        """Raise the error for an answer. Drop the child unless the sensor is the cause."""
        if fault in {Fault.NO_ANSWER, Fault.CHECKSUM}:
            self._losses = 0
        if fault is Fault.NO_ANSWER:
            raise no_answer(self._pin, HINT[self.model])
        if fault is Fault.CHECKSUM:
            raise self._damaged(frame)
        self._drop_child(f"The sensor's driver failed: {detail}", fault, detail)

    def _damaged(self, frame: bytes) -> SensorError:
        if self.model == "dht22" and frame.endswith(END_OF_DHT21):
            return damaged_frame(self._pin, HINT_DHT21)
        if self.model == "dht21":  # Not every AM2301 sends more bits than a DHT22.
            advice = f'If this happens always, set driver = "dht22"; otherwise {CABLE}.'
            return damaged_frame(self._pin, advice)
        return damaged_frame(self._pin)

    def _lost(self, error: Exception) -> NoReturn:
        """Raise the error for a child that hung, exited or sent nonsense."""
        if isinstance(error, TimeoutError):
            sentence = "The sensor's driver hung and was killed."
        elif isinstance(error, OSError) and self._child is None:
            sentence = f"Cannot start the sensor's driver: {error.strerror}"
        else:
            text = str(error).rstrip(".")
            sentence = f"The sensor's driver ended: {text}. {self._last_line()}"
        self._drop_child(sentence, Fault.FAILED, "")

    def _drop_child(self, sentence: str, fault: Fault, detail: str) -> NoReturn:
        printed = self._child.output() if self._child else ""
        self._end_child()
        self._must_be_open()
        self._losses += 1
        # 0, 2, 6, 14, ... seconds. The first restart is immediate.
        self._not_before = self._clock() + min(LONGEST_BACKOFF, 2.0**self._losses - 2.0)
        self._why = self._explained(sentence, fault, f"{detail}\n{printed}")
        raise self._why

    def _explained(self, sentence: str, fault: Fault, said: str) -> SensorError:
        """Return the error with the cause and the remedy, if the output shows them."""
        if "Unable to set line" in said or "Unable to open line" in said:
            return SensorError(
                f"GPIO {self._pin} is in use by another program or by the kernel. To see by which: "
                "sensor-agent check --only gpio",
                fault=Fault.BUSY,
            )
        if "Unable to open chip" in said or fault is Fault.NO_PERMISSION:
            return SensorError(
                "This user may not use the GPIO pins. To join their group: sudo usermod -aG gpio "
                "$USER, then log out and log in again.",
                fault=Fault.NO_PERMISSION,
            )
        if "Timed out waiting for PulseIn" in said:  # Its advice on libgpiod is out of date.
            printed = said.rpartition("\n")[2]
            return SensorError(
                "Blinka's helper libgpiod_pulsein did not start within 0.25 s. The card may be "
                f"slow, or the machine busy. Its output: {printed or 'none.'}",
                fault=Fault.FAILED,
            )
        if "GPIO controller" in said:
            return SensorError(
                f"Blinka did not find exactly one GPIO chip with GPIO {self._pin} of the header. "
                f"{sentence}",
                fault=Fault.FAILED,
            )
        return SensorError(sentence, fault=fault)

    def _last_line(self) -> str:
        printed = self._child.output() if self._child else ""
        return f"Its output: {printed.splitlines()[-1] if printed else 'none.'}"

    def _end_child(self, grace: float = 0.0) -> None:
        child, self._child = self._child, None
        self.deadline = START_DEADLINE + READ_DEADLINE
        if child is not None:
            child.end(grace)
            sweep_queues(child)


def sweep_queues(killed: Child | None = None, *, table: Path = Path("/proc/sysvipc/msg")) -> None:
    """Remove message queues that children have left behind.

    A SysV queue outlives its processes. Ours were created by this user, with `QUEUE_MODE` or, if
    the helper created them without its child, with mode 0. A queue is left behind if its last
    sender or receiver is dead or belongs to the group of `killed`. An unused queue is left behind
    after a minute.
    """
    try:
        _, *rows = table.read_text().splitlines()
    except (OSError, ValueError):
        return  # No queues on this system.
    for row in rows:
        _, number, mode, _, _, sender, receiver, _, _, creator, *_, made = map(int, row.split())
        if creator != os.geteuid() or mode not in MODES:
            continue
        if users := {sender, receiver} - {0}:
            is_left_behind = any(_is_dead(user, killed) for user in users)
        else:
            is_left_behind = time.time() - made > UNUSED
        if is_left_behind:
            ctypes.CDLL(None).msgctl(number, IPC_RMID, None)


def _is_dead(process: int, killed: Child | None) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    state, _, group, *_ = stat.rpartition(")")[2].split()
    return state == "Z" or (killed is not None and int(group) == killed.pid)

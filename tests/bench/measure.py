"""The measurements: each lets the two programs do the same, in turn or side by side."""

import itertools
import time
from dataclasses import dataclass, field

from bench import disk, instructions
from bench.hub import BenchFailed, until
from bench.programs import Usage, daemon, fill_outbox, plain

NOBODY = "127.255.255.254"  # Nothing listens on this address of this machine.
UNLIMITED = 10_000


@dataclass(frozen=True)
class Sizes:
    """How much of everything. What is here is what README.md shows."""

    starts: int = 5
    catch_ups: int = 5
    backlog: int = 1440  # Readings: a day's, at one a minute.
    many: int = 10_000  # Readings, acknowledged at once.
    one_by_one: int = 240  # Sent so, and reckoned up to the backlog: each takes as long.
    backlog_under_commands: int = 6000
    in_flight: int = 20
    acknowledged_after: float = 0.05  # Seconds.
    commands: int = 300
    pause: float = 0.02  # Seconds between two commands.
    warm_up: int = 200  # Readings sent before resident memory is looked at first.
    live: int = 800  # Readings sent after that.
    lives: int = 5
    interval: float = 0.05  # Seconds between two of them.
    waiting: tuple[int, int] = (1000, 1_000_000)  # Readings at the start, for the growth.
    statuses: int = 50
    counted_for: dict[float, float] = field(default_factory=lambda: {2.0: 60.0, 60.0: 600.0})
    """For how long instructions are counted (seconds), by the interval of readings (seconds)."""
    written: int = 1440  # Readings: a day's again.
    written_before: int = 600  # Not counted: the first files.


@dataclass
class Samples:
    """What was measured of each program, in the order of the rounds. Times in seconds."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)


class Bench:
    """The measurements, sharing a hub and a directory. Every run is a device of its own."""

    def __init__(self, hub, place, sizes):
        self._hub = hub
        self._place = place
        self._sizes = sizes
        self._numbers = itertools.count(1)

    def _fresh(self, name):
        device_id = f"{name}-{next(self._numbers)}"
        return self._place / device_id, device_id

    # From the start of the process to the first reading that the hub has

    def starts(self):
        """Return cold and warm starts of the daemon, each beside the plain program's."""
        cold, warm = Samples(), Samples()
        for _ in range(self._sizes.starts):
            home, device_id = self._fresh("start")
            cold.ours.append(self._first_reading(self._daemon(home, device_id), device_id))
            warm.ours.append(self._first_reading(self._daemon(home, device_id), device_id))
            home, device_id = self._fresh("plain-start")
            program = plain(home, self._hub, device_id, count=1)
            theirs = self._first_reading(program, device_id)
            cold.theirs.append(theirs)
            warm.theirs.append(theirs)
        return cold, warm

    def _first_reading(self, program, device_id):
        known = len(self._hub.arrivals(device_id))
        with program:
            arrivals = self._hub.until_arrived(device_id, known + 1, program)
            self._until_empty(program)
            return arrivals[known] - program.began

    def _until_empty(self, program):
        if program.name == "sensor-agent":  # The plain one keeps nothing that could wait.
            until(lambda: program.status()["outbox"]["waiting"] == 0, program)

    def _daemon(self, home, device_id, **options):
        return daemon(home, self._hub, device_id, **options)

    # Catching up

    def catch_up(self):
        """Return the daemon beside one-by-one sending, and beside as many in flight."""
        one_by_one, in_flight = Samples(), Samples()
        sizes = self._sizes
        with self._acknowledging_late():
            for _ in range(sizes.catch_ups):
                ours = self._catch_up_of_daemon(sizes.backlog, max_rate=UNLIMITED)
                one_by_one.ours.append(ours)
                in_flight.ours.append(ours)
                in_flight.theirs.append(self._catch_up_of_plain(sizes.backlog, sizes.in_flight))
                few = self._catch_up_of_plain(sizes.one_by_one, 1)
                one_by_one.theirs.append(few * (sizes.backlog - 1) / (sizes.one_by_one - 1))
        return one_by_one, in_flight

    def catch_up_at_once(self):
        """Return the daemon beside as many in flight, each message acknowledged at once."""
        samples, sizes = Samples(), self._sizes
        for _ in range(sizes.catch_ups):
            samples.ours.append(self._catch_up_of_daemon(sizes.many, max_rate=UNLIMITED))
            samples.theirs.append(self._catch_up_of_plain(sizes.many, sizes.in_flight))
        return samples

    def _catch_up_of_daemon(self, count, **options):
        home, device_id = self._fresh("catch-up")
        fill_outbox(home, count)
        with self._daemon(home, device_id, **options) as program:
            arrivals = self._hub.until_arrived(device_id, count, program)
            self._until_empty(program)
        return arrivals[-1] - arrivals[0]

    def _catch_up_of_plain(self, count, in_flight):
        home, device_id = self._fresh("plain-catch-up")
        with plain(home, self._hub, device_id, count=count, in_flight=in_flight) as program:
            arrivals = self._hub.until_arrived(device_id, count, program)
        return arrivals[-1] - arrivals[0]

    def _acknowledging_late(self):
        return self._hub.acknowledging_after(self._sizes.acknowledged_after)

    # Commands

    def idle_commands(self):
        """Return how long commands take of both programs while they have nothing else to do."""
        samples = Samples()
        home, device_id = self._fresh("idle")
        plain_home, plain_id = self._fresh("plain-idle")
        with (
            self._daemon(home, device_id) as ours,
            plain(plain_home, self._hub, plain_id, count=1) as theirs,
        ):
            for program, name in ((ours, device_id), (theirs, plain_id)):
                self._hub.until_arrived(name, 1, program)
                self._hub.until_it_takes_commands(name, program)
            for _ in range(self._sizes.commands):
                samples.ours.append(self._hub.command(device_id))
                samples.theirs.append(self._hub.command(plain_id))
                time.sleep(self._sizes.pause)
        return samples

    def commands_during_catch_up(self, *, at_default_rate):
        """Return how long commands take of the daemon, and of the plain program, catching up.

        And the time that the daemon's catch-up took. At the default rate the plain program, which
        knows none, is idle.
        """
        samples, sizes = Samples(), self._sizes
        rate = {} if at_default_rate else {"max_rate": UNLIMITED}
        count = sizes.backlog if at_default_rate else sizes.backlog_under_commands
        home, device_id = self._fresh("busy")
        fill_outbox(home, count)
        with self._acknowledging_late():
            with self._daemon(home, device_id, **rate) as program:
                samples.ours = self._command_until(device_id, program, count)
                arrivals = self._hub.until_arrived(device_id, count, program)
            if not at_default_rate:
                home, plain_id = self._fresh("plain-busy")
                busy = plain(home, self._hub, plain_id, count=count, in_flight=sizes.in_flight)
                with busy:
                    samples.theirs = self._command_until(plain_id, busy, count)
        return samples, arrivals[-1] - arrivals[0]

    def _command_until(self, device_id, program, count):
        """Call commands from the first of `count` messages to the last."""
        self._hub.until_arrived(device_id, 1, program)
        self._hub.until_it_takes_commands(device_id, program)
        took = []
        while len(self._hub.arrivals(device_id)) < count:
            took.append(self._hub.command(device_id))
            time.sleep(self._sizes.pause)
        return took

    # What it costs

    def lives(self):
        return [self._live() for _ in range(self._sizes.lives)]

    def _live(self):
        """Return what the kernel counts of both programs, side by side, a reading each `interval`.

        Two pairs of (Usage, readings sent until then): after the warm-up, and at the end.
        """
        sizes = self._sizes
        total = sizes.warm_up + sizes.live
        home, device_id = self._fresh("live")
        plain_home, plain_id = self._fresh("plain-live")
        with (
            self._daemon(home, device_id, interval=sizes.interval) as ours,
            plain(
                plain_home, self._hub, plain_id, count=2 * total, interval=sizes.interval
            ) as theirs,
        ):
            looks: dict[str, list[tuple[Usage | None, int]]] = {}
            for count in (sizes.warm_up, total):
                for program, name in ((ours, device_id), (theirs, plain_id)):
                    self._hub.until_arrived(name, count, program)
                    look = program.usage(), len(self._hub.arrivals(name))
                    looks.setdefault(program.name, []).append(look)
        return looks[ours.name], looks[theirs.name]

    def instructions(self):
        """Return the instructions in a minute by interval, of both; None without valgrind."""
        if not instructions.can_be_counted():
            return None
        return {
            interval: self._instructions(interval, seconds)
            for interval, seconds in self._sizes.counted_for.items()
        }

    def _instructions(self, interval, seconds):
        home, device_id = self._fresh("counted")
        plain_home, plain_id = self._fresh("plain-counted")
        many = 1_000_000
        under, plain_under = instructions.counting(home), instructions.counting(plain_home)
        with (
            self._daemon(home, device_id, interval=interval, under=under) as ours,
            plain(
                plain_home, self._hub, plain_id, count=many, interval=interval, under=plain_under
            ) as theirs,
        ):
            both = (ours, device_id), (theirs, plain_id)
            for program, name in both:
                self._hub.until_arrived(name, 2, program)
                self._hub.until_it_takes_commands(name, program)
            for program, _ in both:
                instructions.begin(program.pid)
            time.sleep(seconds)
            return tuple(
                instructions.end(program.pid, program.home) * 60 / seconds for program, _ in both
            )

    def growth(self):
        """Return what starts cost with few and with many readings waiting, None without /proc.

        Of each a list: per start, the Usage until the daemon answered for the first time, and the
        CPU seconds of a status after that. No hub can be reached.
        """
        samples: list[list[tuple[Usage | None, float]]] = []
        for count in self._sizes.waiting:
            home, device_id = self._fresh("grown")
            fill_outbox(home, count)
            program = self._daemon(home, device_id, provisioning_host=NOBODY)
            samples.append([self._started(program, count) for _ in range(self._sizes.starts)])
        return None if samples[0][0][0] is None else samples

    def _started(self, program, count):
        with program:
            until(program.answers, program)
            usage = program.usage()
            for _ in range(self._sizes.statuses):
                waiting = program.status()["outbox"]["waiting"]
                if waiting < count:  # The daemon adds its own.
                    raise BenchFailed(f"{waiting} readings wait of {count}.\n{program.log()}")
            after = program.usage()
            return usage, (after.cpu - usage.cpu) / self._sizes.statuses if usage else 0.0

    def written(self):
        """Return the bytes that a day's readings write to a disk; None where it cannot be known.

        In all, and without what the file system adds later.
        """
        sizes = self._sizes
        if not disk.can_be_measured():
            return None
        return tuple(
            disk.bytes_written(sizes.written, before=sizes.written_before, write_out=write_out)
            for write_out in (True, False)
        )

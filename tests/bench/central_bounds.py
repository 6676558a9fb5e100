"""What idle connections and long look-ups cost central, and those who wait beside them.

`make bench` runs it after `central_fleet`. Central runs as a process of its own, and so do the idle
connections; a device of another address connects again and again meanwhile.
"""

import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from centrals import CentralProcess
from mqtt_client import MqttClient, Registering
from places import ROOT

from bench import report
from central.protocol.sas import new_key
from central.storage.registry import Registry
from central.storage.store import Store

HELD = 5.0  # Seconds for which the idle connections are kept, and after which memory is measured.
EVERY = 0.05  # Seconds between two connections of the honest device; it may open 64 a second.
WEEK = 7 * 86_400.0
PAGES = 3
LOOKED = 10.0  # Seconds for which the pages are open.
DEVICES = 20
BEGIN = "<!-- central's bounds: begin -->"
END = "<!-- central's bounds: end -->"


@dataclass
class Idle:
    """What so many idle connections cost. Memory in bytes."""

    name: str
    before: int = 0
    most: int = 0
    after: int = 0
    waits: list[float] = field(default_factory=list)  # Seconds from TCP to CONNACK.

    def row(self) -> list[str]:
        memory = [
            f"{size / report.MEGABYTE:.0f} MB" for size in (self.before, self.most, self.after)
        ]
        return [self.name, *memory, f"{1000 * max(self.waits):.0f} ms", str(len(self.waits))]


IDLE_HEAD = ["idle connections", "memory before", "at most", "after", "longest wait", "of"]


def memory(central: CentralProcess) -> int:
    pages = int(Path(f"/proc/{central.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def flood(central: CentralProcess, count: int, addresses: str) -> Iterator[subprocess.Popen[bytes]]:
    """Open idle connections in another process; close them at the end of the block."""
    host, port = central.address
    arguments = [host, str(port), str(central.info["ca_file"]), str(count), addresses]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.idle_flood", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.communicate()  # The end of its input.


def idle(count: int, addresses: str) -> Idle:
    """Measure central with idle connections of many addresses or of one."""
    found = Idle(f"{count} of {addresses} {'address' if addresses == 'one' else 'addresses'}")
    with tempfile.TemporaryDirectory() as place, CentralProcess(Path(place)) as central:
        central.start()
        with Registering(central, "honest") as client:
            client.register()
        time.sleep(1)
        found.before = memory(central)
        with flood(central, count, addresses) as process:
            assert process.stdout is not None
            tried = threading.Thread(target=process.stdout.readline)
            tried.start()
            ends = None
            while ends is None or time.monotonic() < ends:
                begun = time.monotonic()
                with MqttClient(central) as client:
                    assert client.connect_as(central, "honest")[1] == 0
                found.waits.append(time.monotonic() - begun)
                found.most = max(found.most, memory(central))
                if ends is None and not tried.is_alive():
                    ends = time.monotonic() + HELD
                time.sleep(EVERY)
        time.sleep(HELD)
        found.after = memory(central)
    return found


@dataclass
class LookUps:
    """Look-up times, in seconds."""

    messages: int
    charts: list[float] = field(default_factory=list)
    lists: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        return [
            f"{self.messages:,}",
            *[
                f"{report.percentile(each, 50):.3f} and {max(each):.3f} s"
                for each in (self.charts, self.lists)
            ],
        ]


LOOK_UP_HEAD = [
    "messages",
    f"chart of a week, {PAGES} pages, p50 and most",
    "device list, p50 and most",
]


# A week of messages, evenly spread, and the numbers in them.
COUNTED = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < :count)"
MESSAGES = f"""
    INSERT INTO messages (device_id, received, body, properties, system)
    {COUNTED} SELECT 'pi-0', :begin + i * :step, :body, '{{}}', '{{}}' FROM c
"""  # noqa: S608 - our own text
TELEMETRY = f"""
    INSERT INTO telemetry {COUNTED}
    SELECT 'pi-0', '', :name, :begin + i * :step, i, printf('%.2f', (i * 7919 % 4000) / 100.0)
    FROM c
"""  # noqa: S608 - our own text


def fill(directory: Path, count: int) -> None:
    """Store a week of messages of one device, and a few other devices."""
    store = Store(directory / "central.db")
    registry = Registry(store, group_key=new_key(), clock=time.time)
    for number in range(DEVICES):
        registry.add_device(f"pi-{number}")
    week: dict[str, object] = {"count": count, "begin": time.time() - WEEK, "step": WEEK / count}
    body = json.dumps({"temp": 21.5, "humid": 40.5}).encode()
    store.call(_execute, MESSAGES, week | {"body": body})
    for name in ("temp", "humid"):
        store.call(_execute, TELEMETRY, week | {"name": name})
    store.close()


def _execute(db: sqlite3.Connection, statement: str, values: dict[str, object]) -> None:
    db.execute(statement, values)


async def watch(url: str, found: LookUps) -> None:
    async with aiohttp.ClientSession(url) as http:
        ends = time.monotonic() + LOOKED

        async def timed(path: str, times: list[float], pause: float) -> None:
            while time.monotonic() < ends:
                begun = time.monotonic()
                async with http.get(path) as response:
                    assert response.status == 200, await response.text()
                    await response.read()
                times.append(time.monotonic() - begun)
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(PAGES):
                since = time.time() - WEEK
                path = f"console/api/devices/pi-0/series?since={since}&name=temp&name=humid"
                tasks.create_task(timed(path, found.charts, 0.0))
            tasks.create_task(timed("console/api/devices", found.lists, 0.1))


def look_ups(count: int) -> LookUps:
    """Measure the device list while pages show a week of so many messages."""
    found = LookUps(count)
    with tempfile.TemporaryDirectory() as place, CentralProcess(Path(place)) as central:
        central.start().stop()
        fill(Path(place), count)
        asyncio.run(watch(central.start().info["http"], found))
    return found


def main(count: int, messages: list[int], readme: Path) -> None:
    load = os.getloadavg()[0]
    print("Measuring: central's bounds", file=sys.stderr, flush=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * count)), hard))
    rows = [idle(count, addresses).row() for addresses in ("many", "one")]
    times = [look_ups(each).row() for each in messages]
    tables = [report.aligned([IDLE_HEAD, *rows]), report.aligned([LOOK_UP_HEAD, *times])]
    text = "\n\n".join([report.machine(load), *tables])
    print(text)
    report.write(readme, text, begin=BEGIN, end=END)


if __name__ == "__main__":
    main(5000, [100_000, 1_000_000], Path(__file__).with_name("README.md"))

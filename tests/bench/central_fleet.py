"""How many devices, at one message a second each, central carries with its page open.

`make bench` runs it last.

Central runs as a process of its own, the devices in this one: real MQTT over TLS, acknowledged
messages. The console is open to the network, with TLS and sign-in. Chromium shows the list of all
devices in one page and a device in another, which is used meanwhile: tabs are clicked, and it is
measured how long they take to appear. All on this machine, so the devices and the browser take
their share of its processors, too.
"""

import asyncio
import json
import os
import ssl
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from browsers import running_browser
from centrals import CentralProcess
from mqtt_client import packet, sas_token, string
from playwright.async_api import Page

from agent.device import model
from bench import report
from central.console.sign_in import passwords
from central.protocol import sas
from central.records import Role, User
from central.server import open_store
from central.storage import accounts

CONNECTS_A_SECOND = 50  # As a fleet's backoff spreads them; central admits 64 of one address.
LATE = 2.0  # Seconds in which the last messages can still be acknowledged.
PAUSE = 3.0  # Seconds between the last connection and the first measurement.
CLICK_EVERY = 1.0  # Seconds.
SLOW_ACK, SLOW_PAGE = 1.0, 1.0  # Seconds from which on it is said to bend.
USER, PASSWORD = "ann", "correct horse battery"
MODEL = model.CELSIUS
BEGIN = "<!-- central with many devices: begin -->"
END = "<!-- central with many devices: end -->"


@dataclass
class Measured:
    """What came out with so many devices."""

    devices: int
    sent: int = 0
    acks: list[float] = field(default_factory=list)  # Seconds from message to acknowledgement.
    clicks: list[float] = field(default_factory=list)  # Seconds from click to what was clicked for.
    lists: list[float] = field(default_factory=list)  # Seconds for the list of all devices.
    behind: list[float] = field(default_factory=list)  # Seconds that the page's reading is old.
    cpu: float = 0.0  # Of one processor.
    memory: int = 0  # Bytes.

    @property
    def bends(self) -> bool:
        """Whether messages or the page have to be waited for."""
        lost = len(self.acks) < 0.99 * self.sent
        return lost or worst(self.acks) > SLOW_ACK or worst(self.clicks) > SLOW_PAGE

    def row(self) -> list[str]:
        acknowledged = 100 * len(self.acks) / max(1, self.sent)
        return [
            str(self.devices),
            f"{acknowledged:.1f} %",
            *[p50_and_p99(values) for values in (self.acks, self.clicks, self.lists)],
            f"{max(self.behind, default=0):.0f} s",
            f"{100 * self.cpu:.0f} %",
            f"{self.memory / report.MEGABYTE:.0f} MB",
            "bends" if self.bends else "",
        ]


HEAD = [
    "devices",
    "acknowledged",
    "message to acknowledgement, p50 and p99",
    "click to page, p50 and p99",
    "list of all devices, p50 and p99",
    "reading on the page, age at most",
    "CPU",
    "memory",
    "",
]


def worst(values: list[float]) -> float:
    return report.percentile(values, 99)


def p50_and_p99(seconds: list[float]) -> str:
    return f"{1000 * report.percentile(seconds, 50):.0f} and {1000 * worst(seconds):.0f} ms"


class Device:
    """One device: a message a second, and how long each took to be acknowledged."""

    def __init__(self, number: int) -> None:
        self.id = f"fleet-{number}"
        self.number = number
        self.measured: Measured | None = None
        self._under_way: dict[int, tuple[float, Measured | None]] = {}
        self._packet_id = 0

    async def connect(self, info: dict[str, Any], context: ssl.SSLContext, key: str) -> None:
        host = info["mqtt_host"]
        self._reader, self._writer = await asyncio.open_connection(
            host, info["mqtt_port"], ssl=context, server_hostname=host
        )
        username = f"{host}/{self.id}/?api-version=2020-09-30&model-id={MODEL}"
        token = sas_token(f"{host}/devices/{self.id}", key)
        content = string("MQTT") + b"\x04\xc2\x00\x3c" + string(self.id)
        self._writer.write(packet(0x10, content + string(username) + string(token)))
        answer = await self._reader.readexactly(4)
        assert answer[3] == 0, f"{self.id} was refused"

    async def live(self) -> None:
        """Send and be acknowledged until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            tasks.create_task(self._receive())

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + (self.number * 0.618) % 1.0  # Spread over the second.
        sequence = 0
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += 1.0
            sequence += 1
            self._packet_id = self._packet_id % 0xFFFF + 1
            bag = f"%24.mid=fleet%3A{sequence}&%24.ct=application%2Fjson&%24.ce=utf-8"
            topic = string(f"devices/{self.id}/messages/events/{bag}")
            body = json.dumps({"temp": 20 + self.number % 10, "humid": 40.5}).encode()
            self._under_way[self._packet_id] = time.monotonic(), self.measured
            if self.measured is not None:
                self.measured.sent += 1
            content = topic + self._packet_id.to_bytes(2) + body
            self._writer.write(packet(0x32, content))
            await self._writer.drain()

    async def _receive(self) -> None:
        while True:
            kind, length = await self._reader.readexactly(2)  # None is longer than 127 bytes here.
            content = await self._reader.readexactly(length)
            if kind >> 4 == 4:
                sent, measured = self._under_way.pop(int.from_bytes(content[:2]))
                if measured is not None:
                    measured.acks.append(time.monotonic() - sent)

    def close(self) -> None:
        self._writer.close()


class Fleet:
    """The devices that are connected so far."""

    def __init__(self, info: dict[str, object], http: aiohttp.ClientSession) -> None:
        self._info = info
        self._http = http
        self._context = ssl.create_default_context(cafile=str(info["ca_file"]))
        self._group_key = Path(str(info["group_key_file"])).read_text().strip()
        self._tasks: set[asyncio.Task[None]] = set()
        self.devices: list[Device] = []

    async def grow(self, count: int) -> None:
        """Connect more devices, as a fleet would: spread, not all at once."""
        while len(self.devices) < count:
            device = Device(len(self.devices))
            body = {"displayName": f"Device {device.number}"}
            async with self._http.put(f"api/devices/{device.id}", json=body) as response:
                assert response.status == 200, await response.text()
            key = sas.derive_device_key(self._group_key, device.id)
            await device.connect(self._info, self._context, key)
            self.devices.append(device)
            self._tasks.add(asyncio.create_task(device.live(), name=device.id))
            await asyncio.sleep(1 / CONNECTS_A_SECOND)

    def measure(self, measured: Measured | None) -> None:
        for device in self.devices:
            device.measured = measured

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for device in self.devices:
            device.close()


class Usage:
    """A process's processor time and memory, as Linux counts them."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")
        self._begun, self._cpu = time.monotonic(), self._seconds()

    def _seconds(self) -> float:
        fields = (self._proc / "stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def into(self, measured: Measured) -> None:
        measured.cpu = (self._seconds() - self._cpu) / (time.monotonic() - self._begun)
        pages = int((self._proc / "statm").read_text().split()[1])
        measured.memory = pages * os.sysconf("SC_PAGE_SIZE")


async def use_page(page: Page, http: aiohttp.ClientSession, measured: Measured) -> None:
    """Click from tab to tab as an operator does, and ask for the list of all devices."""
    shown = [("Raw data", "tbody tr"), ("Commands", ".command"), ("Overview", ".tile-number")]
    while True:
        for tab, what in shown:
            begun = time.monotonic()
            await page.get_by_role("link", name=tab, exact=True).click()
            await page.locator(what).first.wait_for()
            measured.clicks.append(time.monotonic() - begun)
            begun = time.monotonic()
            async with http.get("console/api/devices") as response:
                await response.read()
            measured.lists.append(time.monotonic() - begun)
            await asyncio.sleep(CLICK_EVERY)
        text = await page.locator(".tile > .muted").first.text_content() or ""
        measured.behind.append(0.0 if text == "now" else float(text.split()[0]))


def add_user(directory: Path) -> None:
    with open_store(directory) as store:
        stored = passwords.hash_password(PASSWORD)
        store.call(accounts.add_user, User(USER, Role.ADMINISTRATOR, stored, time.time()))


def signed_in_client(info: dict[str, Any]) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cafile=str(info["console_ca_file"]))
    token = Path(info["console_token_file"]).read_text().strip()
    return aiohttp.ClientSession(
        info["http"],
        connector=aiohttp.TCPConnector(ssl=context),
        headers={"Authorization": token},
    )


@asynccontextmanager
async def opened_page(url: str):
    """Sign in, and open the list and the page of the first device in Chromium."""
    async with running_browser() as browser:
        context = await browser.new_context(base_url=url, ignore_https_errors=True)
        everything = await context.new_page()
        await everything.goto("/")
        await everything.get_by_label("User").fill(USER)
        await everything.get_by_label("Password").fill(PASSWORD)
        await everything.get_by_role("button", name="Sign in").click()
        await everything.get_by_role("heading", name="Devices").wait_for()
        page = await context.new_page()
        page.set_default_timeout(60_000)
        await page.goto("/#/devices/fleet-0")
        yield page


async def run(counts: list[int], seconds: float) -> list[Measured]:
    found = []
    everywhere = ("--console-listen", "0.0.0.0")  # noqa: S104 - so it is not on loopback.
    with (
        tempfile.TemporaryDirectory() as directory,
        CentralProcess(Path(directory), *everywhere) as central,
    ):
        add_user(Path(directory))
        info = central.start().info
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(signed_in_client(info))
            for dtmi in (model.CELSIUS, model.DEVICE_INFORMATION):
                body = {"capabilityModel": model.interface(dtmi)}
                await http.put(f"api/deviceTemplates/{dtmi}", json=body)
            fleet = Fleet(info, http)
            await fleet.grow(1)
            page = await stack.enter_async_context(opened_page(info["http"]))
            for count in counts:
                await fleet.grow(count)
                await asyncio.sleep(PAUSE)
                found.append(await measure(fleet, page, http, central, seconds))
                print("  ".join(found[-1].row()), file=sys.stderr, flush=True)
                if all(each.bends for each in found[-2:]) and len(found) > 1:
                    break  # One alone may be the machine's other work.
            await fleet.close()
    return found


async def measure(
    fleet: Fleet, page: Page, http: aiohttp.ClientSession, central: CentralProcess, seconds: float
) -> Measured:
    measured = Measured(len(fleet.devices))
    using = asyncio.create_task(use_page(page, http, measured))
    usage = Usage(central.pid)
    fleet.measure(measured)
    await asyncio.wait({using}, timeout=seconds)
    if using.done():
        using.result()
    fleet.measure(None)
    usage.into(measured)
    using.cancel()
    await asyncio.wait({using})
    await asyncio.sleep(LATE)
    return measured


def main(counts: list[int], seconds: float, readme: Path) -> None:
    load = os.getloadavg()[0]
    print("Measuring: central with many devices", file=sys.stderr, flush=True)
    found = asyncio.run(run(counts, seconds))
    lines = report.aligned([HEAD, *(each.row() for each in found)])
    text = f"{report.machine(load)}\n\n{lines}"
    print(text)
    report.write(readme, text, begin=BEGIN, end=END)


if __name__ == "__main__":
    main([100, 200, 400, 600, 800, 1000, 1200], 20.0, Path(__file__).with_name("README.md"))

"""The tutorial in the browser, with the real daemon.

With SCREENSHOTS=docs in the environment, this also takes the pictures of the documentation.
"""

import asyncio
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from addresses import own_address
from browsers import watched_page
from optional import several_loopbacks
from places import ROOT
from playwright.async_api import expect

from agent.daemon.control_socket import SOCKET_NAME
from agent.device import model
from central.application import Settings
from central.console.run import open_central
from central.records import Message
from central.storage.telemetry import add_message

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

MODELS = tuple(
    model.interface(dtmi) for dtmi in (model.CELSIUS, model.FAHRENHEIT, *model.COMPONENTS)
)
DEVICE = "greenhouse-1"
# A simulated board, with readings as often as a test can use them.
BOARD = '\n[sensor]\ndriver = "fake"\ninterval = 0.5\n\n[led]\ndriver = "fake"\n'
SCREENSHOTS = os.environ.get("SCREENSHOTS") and Path(os.environ["SCREENSHOTS"])
NEXT_TRY = 200_000  # Milliseconds. The daemon's pauses grow, and are random.
OUTAGE = 6  # Seconds. Longer than a reading takes to count as late.


class Operator:
    """An operator with a browser."""

    def __init__(self, page):
        self.page = page

    async def take_picture(self, name, *, part=None, theme="light"):
        """Save a picture of the page, or of a part of it, if pictures are wanted."""
        if SCREENSHOTS:
            await self.page.emulate_media(color_scheme=theme)
            await self.page.evaluate("scrollTo(0, 0)")
            await (part or self.page).screenshot(path=SCREENSHOTS / f"{name}.png")
            await self.page.emulate_media(color_scheme="light")

    async def go(self, tab):
        link = self.page.get_by_role("link", name=tab, exact=True)
        await link.click()
        # The tab before may have a field of the same label.
        await expect(link).to_have_attribute("aria-current", "page")

    async def add_device(self):
        """Add a device. Return the configuration and the key that the page shows."""
        page = self.page
        await expect(page.get_by_role("heading", name="No devices yet")).to_be_visible()
        await page.get_by_role("button", name="Add device").click()
        await page.get_by_label("Device id").fill(DEVICE)
        await page.get_by_label("Model").select_option("Environmental sensor")
        await page.get_by_role("button", name="Add", exact=True).click()
        dialog = page.get_by_role("dialog", name=f"Connect {DEVICE}")
        key = await dialog.get_by_label("Primary key", exact=True).input_value()
        line, _, config, run = await dialog.locator("pre").all_text_contents()
        assert line.startswith("sudo sensor-agent setup --central /")
        assert line.endswith(f" --device-id {DEVICE}")
        assert run == f"sensor-agent run --config {DEVICE}.toml"
        await page.keyboard.press("Escape")
        return config, key

    async def set_properties(self, **values):
        for label, value in values.items():
            await self.page.get_by_label(label.replace("_", " ")).fill(value)
        await self.page.get_by_role("button", name="Save").click()

    def state_of(self, label):
        row = self.page.locator(".row", has=self.page.get_by_label(label, exact=True))
        return row.locator(".badge")

    async def run(self, command, *, says, button="Run"):
        form = self.page.locator(".command", has=self.page.get_by_role("heading", name=command))
        await form.get_by_role("button", name=f"{button} {command}").click()
        await expect(form.locator("output")).to_contain_text(says)


@asynccontextmanager
async def daemon(home, config, key):
    """Run the daemon with a configuration and a key from the page."""
    home.mkdir()
    (home / f"{DEVICE}.toml").write_text(config + BOARD)
    (home / f"{DEVICE}.key").write_text(key)
    (home / f"{DEVICE}.key").chmod(0o600)
    places = {"STATE_DIRECTORY": str(home / "state"), "RUNTIME_DIRECTORY": str(home / "run")}
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent", "run", "--config", home / f"{DEVICE}.toml",
            cwd=ROOT, env=os.environ | places, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            status = await process.wait()
        assert status == 0, (home / "log").read_text()[-3000:]


@several_loopbacks
async def test_the_whole_tutorial(browser, tmp_path):
    home = tmp_path / "home"
    settings = Settings(
        tmp_path / "central",
        listen=own_address(),
        http_port=0,
        templates=MODELS,
        room_socket=home / "run" / SOCKET_NAME,
    )
    size = {"width": 1280, "height": 900}
    async with (
        open_central(settings) as central,
        watched_page(browser, central, viewport=size) as page,
    ):
        operator = Operator(page)
        await page.goto("/")
        config, key = await operator.add_device()
        await expect(page.locator(".status")).to_contain_text("Never seen")
        if SCREENSHOTS:
            await add_history(central)
        async with daemon(home, config, key):
            await watch_readings(operator)
            await set_properties(operator)
            await run_commands(operator)
            await lose_and_regain_the_network(operator)
            await look_at_the_data(operator)
        await expect(page.locator(".status")).to_contain_text("Disconnected since")


async def add_history(central):
    """Add readings of the last nine minutes, for the charts in the pictures."""
    noise = random.Random(1)  # noqa: S311 - no secret
    for age in range(540, 0, -2):
        body = {
            "temp": round(24 - age / 90 + noise.gauss(0, 0.05), 1),
            "humid": round(52 + 3 * math.sin(age / 120) + noise.gauss(0, 0.2), 1),
        }
        taken = time.time() - age
        reading = Message(0, DEVICE, taken, taken, json.dumps(body).encode(), {}, {})
        await central.store.run(partial(add_message, new=reading))


async def watch_readings(operator):
    page = operator.page
    await expect(page.locator(".status")).to_contain_text("Connected since")
    await expect(page.locator(".tile").nth(0)).to_contain_text(re.compile(r"-?\d+\.\d°C"))
    await expect(page.locator(".tile").nth(1)).to_contain_text(re.compile(r"\d+\.\d%"))
    await expect(page.locator(".overview-side")).to_contain_text("Online")
    await expect(page.locator(".overview-side")).to_contain_text("OK")
    await page.get_by_label("Temperature", exact=True).fill("30")
    await expect(page.locator(".tile").nth(0)).to_contain_text(re.compile(r"(29|30|31)\.\d°C"))
    await operator.go("About")
    await expect(page.locator(".panel")).to_contain_text("Device information")
    await expect(page.locator(".panel")).to_contain_text("Processor architecture")


async def set_properties(operator):
    page = operator.page
    await operator.go("Properties")
    await page.get_by_label("Brightness level").select_option("Medium")
    await operator.set_properties(Customer_name="Ada")
    for label in ("Brightness level", "Customer name"):
        await expect(operator.state_of(label)).to_have_text("Synced")
    await expect(page.locator(".rows")).to_contain_text("Device: Medium")
    await operator.set_properties(Telemetry_interval="1")
    await expect(operator.state_of("Telemetry interval")).to_contain_text("Refused: ")
    await expect(page.get_by_text("The device refused Telemetry interval.")).to_be_visible()
    await operator.take_picture("console-properties")
    await operator.set_properties(Telemetry_interval="5")
    await expect(operator.state_of("Telemetry interval")).to_have_text("Synced")
    await expect(page.get_by_text("Saved. The device has confirmed it.")).to_be_visible()


async def run_commands(operator):
    page = operator.page
    await operator.go("Commands")
    await page.get_by_label("Interval").fill("2")
    await operator.run("Blink", says="Blinking LED every 2 seconds")
    await operator.run("Turn on", says="Done")
    await operator.run("Run diagnostics", says="Started")
    history = page.locator("tbody tr")
    await expect(history.first).to_contain_text("Completed")
    diagnostics = page.locator(".command", has_text="Run diagnostics").locator("output")
    await expect(diagnostics).to_contain_text(re.compile("Completed at .*: .* checks"))
    await operator.run("Turn off", says="Done")
    await page.get_by_label("Interval").fill("0")
    await operator.run("Blink", says="Refused (400)")
    await expect(history).to_have_count(5)
    await operator.take_picture("console-commands")


async def lose_and_regain_the_network(operator):
    page = operator.page
    await operator.go("Overview")
    await page.get_by_role("radio", name="Until cleared").check()
    fault = page.get_by_role("button", name="No network")
    await fault.click()
    await expect(page.locator(".status")).to_contain_text("Disconnected since")
    await operator.run("Turn on", button="Queue", says="Queued")
    await asyncio.sleep(OUTAGE)  # Readings are taken and queued.
    await fault.click()
    await expect(page.locator(".status")).to_contain_text("Connected since", timeout=NEXT_TRY)
    await expect(page.locator(".led")).to_contain_text("On")
    count = page.locator(".count")
    await expect(count).to_contain_text("late", timeout=NEXT_TRY)
    await expect(count).to_contain_text("none missing", timeout=NEXT_TRY)
    await expect(page.locator(".faults-banner")).to_be_hidden()
    await operator.take_picture("console")
    overview = page.locator(".overview-main")
    await operator.take_picture("console-faults", part=overview, theme="dark")
    await operator.go("Connections")
    log = page.get_by_role("region", name="Connection log")
    await expect(log).to_contain_text("cut on request")


async def look_at_the_data(operator):
    page = operator.page
    await operator.go("Raw data")
    await expect(page.locator("tbody .badge").first).to_be_visible()
    await operator.take_picture("console-raw-data")
    await operator.go("Commands")
    await expect(page.locator("tbody tr").first).to_contain_text("Delivered")
    await operator.go("Overview")

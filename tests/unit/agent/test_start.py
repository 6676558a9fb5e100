"""The start of the daemon, with and without success."""

import asyncio
import errno
import threading
from contextlib import AsyncExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fakes import until

from agent.cloud.cloud_sink import cloud_sink
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig, default, with_fake_hardware
from agent.daemon import service as service_module
from agent.daemon.control_socket import SOCKET_NAME, ask
from agent.daemon.service import Places, Service
from agent.device.limits import NO_LIMITS
from agent.errors import ControlError
from agent.readings import outbox as outbox_module
from agent.readings.segment_files import SegmentFiles
from agent.readings.sink import PrintingSink
from agent.storage.settings import Settings
from hw import DriverError, LedError, open_led
from hw.leds.fake_led import SimulatedLed


def make(tmp_path, **changes):
    config = replace(with_fake_hardware(default(host_name="laptop")), **changes)
    shown: list[str] = []
    service = Service(
        config,
        places=Places(state=tmp_path / "state", runtime=tmp_path / "run"),
        open_sink=lambda service: nullcontext(PrintingSink(shown.append, service.status_changed)),
    )
    return service, shown


async def test_a_daemon_without_a_cloud_starts_shows_readings_and_stops(tmp_path):
    service, shown = make(tmp_path)
    running = asyncio.create_task(service.run())
    await until(lambda: shown)
    status = await asyncio.to_thread(ask, tmp_path / "run" / SOCKET_NAME, {"command": "status"})
    assert status["status"]["device_id"] == "laptop"
    service.stop.set()
    await running
    assert not (tmp_path / "run" / SOCKET_NAME).exists()
    assert not (tmp_path / "state").exists()


async def test_a_stopped_daemon_refuses_to_turn_on_the_led(tmp_path):
    service, shown = make(tmp_path)
    running = asyncio.create_task(service.run())
    await until(lambda: shown)
    await service._led.on()
    service.stop.set()
    await running
    with pytest.raises(LedError, match="The LED is closed"):
        await service._led.on()


async def test_a_stop_before_the_first_reading_is_clean(tmp_path):
    service, _ = make(tmp_path)
    service.stop.set()
    await service.run()


async def test_a_stop_does_not_wait_for_a_slow_led(tmp_path, monkeypatch):
    opening, release, opened = threading.Event(), threading.Event(), []

    class SlowLed(SimulatedLed):
        def _drive(self, level):
            opening.set()
            opened.append(release.wait(20))

    monkeypatch.setattr(service_module, "open_led", lambda *_, **__: SlowLed())
    service, shown = make(tmp_path)
    running = asyncio.create_task(service.run())
    await until(opening.is_set)
    service.stop.set()
    await running
    assert not opened
    assert not shown
    release.set()


def cloudy(tmp_path):
    cloud = CloudConfig(id_scope="0ne00000000", key_file=Path("key"))
    service, _ = make(tmp_path, cloud=cloud)
    service._open_sink = partial(
        cloud_sink,
        config=service._config,
        cloud=cloud,
        credentials=Credentials(key="a2V5"),
        state=tmp_path / "state",
    )
    return service


async def test_a_stop_does_not_wait_for_a_slow_disk(tmp_path, monkeypatch):
    checking, release = threading.Event(), threading.Event()

    def load_slowly(_files):
        checking.set()
        release.wait(20)
        raise OSError(errno.EIO, "that took too long")

    monkeypatch.setattr(SegmentFiles, "load", load_slowly)
    monkeypatch.setattr(outbox_module, "CLOSE_DEADLINE", 0.0)
    service = cloudy(tmp_path)
    running = asyncio.create_task(service.run())
    await until(checking.is_set)
    service.stop.set()
    await running
    assert not (tmp_path / "run").exists()
    release.set()


async def test_a_stored_value_that_is_no_longer_valid_is_ignored(tmp_path):
    settings = await Settings.open(tmp_path / "state")
    for name, value in {"brightness": 7, "telemetryInterval": "often", "name": "attic"}.items():
        await settings.put(f"property.{name}", value)
    await settings.close()
    service = cloudy(tmp_path)
    async with AsyncExitStack() as held:
        await service._start(held)
        assert (await service.status()).properties == {
            "brightness": 1,
            "telemetryInterval": 60,
            "name": "attic",
            **NO_LIMITS,
        }


async def test_an_unknown_driver_ends_the_start(tmp_path):
    config = default(host_name="laptop")
    service, _ = make(tmp_path, sensor=replace(config.sensor, driver="sht31"))
    with pytest.raises(DriverError, match="Unknown sensor driver 'sht31'"):
        await service.run()


async def test_a_second_daemon_is_refused_and_the_first_goes_on(tmp_path):
    first, shown = make(tmp_path)
    running = asyncio.create_task(first.run())
    await until(lambda: shown)
    second, _ = make(tmp_path)
    with pytest.raises(ControlError, match="Another sensor-agent answers"):
        await second.run()
    assert (await asyncio.to_thread(ask, tmp_path / "run" / SOCKET_NAME, {"command": "status"}))[
        "ok"
    ]
    first.stop.set()
    await running


async def test_a_failed_start_releases_everything(tmp_path, monkeypatch):
    opened = []

    def remember(*arguments, **keywords):
        opened.append(open_led(*arguments, **keywords))
        return opened[-1]

    monkeypatch.setattr(service_module, "open_led", remember)
    config = default(host_name="laptop")
    service, _ = make(tmp_path, sensor=replace(config.sensor, driver="sht31"))
    with pytest.raises(DriverError):
        await service.run()
    with pytest.raises(Exception, match="closed"):
        opened[0].on()

"""Applying a changed configuration in the running daemon."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from agent.cloud.cloud_sink import cloud_sink
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig, default, with_fake_hardware
from agent.daemon import service as service_module
from agent.daemon.service import Places, Service
from agent.errors import ConfigError, ControlError
from agent.logs import journal
from agent.logs.events import LogEvent
from agent.readings.sink import PrintingSink

CLOUD = CloudConfig(id_scope="0ne00000000", key_file=Path("key"))
FILE = Path("/etc/sensor-agent/config.toml")


class File:
    """A configuration file, as the daemon reads it."""

    def __init__(self, config):
        self.config = config
        self.mistakes: list[str] = []

    def change(self, **sections):
        for section, values in sections.items():
            part = replace(getattr(self.config, section), **values)
            self.config = replace(self.config, **{section: part})

    def read(self):
        if self.mistakes:
            raise ConfigError(*self.mistakes)
        return self.config


@pytest.fixture
def levels(monkeypatch):
    levels: list[str] = []
    monkeypatch.setattr(journal, "set_level", levels.append)
    return levels


@pytest.fixture
def file():
    return File(replace(with_fake_hardware(default(host_name="laptop")), cloud=CLOUD))


def printing(service):
    return nullcontext(PrintingSink(lambda _line: None, service.status_changed))


@asynccontextmanager
async def started(file, tmp_path):
    with_cloud = partial(
        cloud_sink,
        config=file.config,
        cloud=CLOUD,
        credentials=Credentials(key="a2V5"),
        state=tmp_path / "state",
    )
    service = Service(
        file.config,
        places=Places(state=tmp_path / "state", runtime=tmp_path / "run", config=FILE),
        open_sink=printing if file.config.cloud is None else with_cloud,
        read_config=file.read,
    )
    async with AsyncExitStack() as held:
        await service._start(held)
        yield service


async def test_what_can_change_while_running_is_taken_over(file, tmp_path, levels):
    async with started(file, tmp_path) as service:
        file.change(
            sensor={"interval": 7.5, "temperature_offset": -1.5, "humidity_offset": 3.0},
            cloud={"max_rate": 3.0, "allow_move": False},
            outbox={"max_age_days": 2, "max_megabytes": 5},
            log={"level": "debug"},
        )
        outcome = await service.apply_config()
        assert (outcome.file, outcome.restart, outcome.overridden) == (str(FILE), (), [])
        assert len(outcome.applied) == 8
        status = await service.status()
        assert status.sensor.interval == 7.5
        assert status.properties is not None
        assert status.properties["telemetryInterval"] == 8
        assert status.outbox is not None
        assert status.outbox.room_seconds == 2 * 86400
        assert service._sampler.policy._offsets == (-1.5, 3.0)
        assert service._sink._max_rate == 3.0
        assert not service._sink._moves.allowed
        assert service._sink._unreported["telemetryInterval"]["ac"] == 203
        assert levels == ["debug"]


async def test_applying_again_changes_nothing(file, tmp_path, levels):
    async with started(file, tmp_path) as service:
        file.change(sensor={"interval": 7}, led={"pin": 5})
        outcomes = [await service.apply_config(), await service.apply_config()]
        assert [outcome.applied for outcome in outcomes] == [("interval in [sensor]",), ()]
        assert [outcome.restart for outcome in outcomes] == 2 * [("pin in [led]",)]


async def test_two_requests_at_once_are_serialised(file, tmp_path, levels):
    async with started(file, tmp_path) as service:
        file.change(sensor={"interval": 7})
        outcomes = await asyncio.gather(service.apply_config(), service.apply_config())
        assert [outcome.applied for outcome in outcomes] == [("interval in [sensor]",), ()]


async def test_a_mistake_changes_nothing_and_is_logged_in_one_line(file, tmp_path, levels, caplog):
    async with started(file, tmp_path) as service:
        file.change(sensor={"interval": 7})
        file.mistakes = ["x.toml: a mistake", "x.toml: another one"]
        with pytest.raises(ConfigError, match="another one"):
            await service.apply_config()
        assert (await service.status()).sensor.interval == 60
    events = [getattr(record, "MESSAGE_ID", None) for record in caplog.records]
    assert events.count(LogEvent.CONFIGURATION_REFUSED) == 1
    assert "x.toml: a mistake (and 1 more)" in caplog.text
    assert levels == []


async def test_the_operators_interval_takes_precedence(file, tmp_path, levels):
    async with started(file, tmp_path) as service:
        await service._sink._properties.apply_patch({"telemetryInterval": 30, "$version": 2})
        file.change(sensor={"interval": 7})
        outcome = await service.apply_config()
        assert outcome.overridden == ["interval in [sensor]"]
        status = await service.status()
        assert status.sensor.interval == 30
        assert status.properties is not None
        assert status.properties["telemetryInterval"] == 30
    async with started(file, tmp_path) as service:  # The stored value, after a restart.
        file.change(sensor={"interval": 9})
        assert (await service.apply_config()).overridden == ["interval in [sensor]"]
        assert (await service.status()).sensor.interval == 30


async def test_without_a_cloud_the_interval_applies(file, tmp_path, levels):
    file.config = replace(file.config, cloud=None)
    async with started(file, tmp_path) as service:
        file.change(sensor={"interval": 7})
        assert (await service.apply_config()).applied == ("interval in [sensor]",)
        assert (await service.status()).sensor.interval == 7


async def test_a_daemon_without_a_file_refuses(tmp_path, file):
    service = Service(
        file.config,
        places=Places(state=tmp_path, runtime=tmp_path),
        open_sink=printing,
    )
    with pytest.raises(ControlError, match="runs without a configuration file"):
        await service.apply_config()


async def test_a_disk_that_hangs_changes_nothing(file, tmp_path, monkeypatch):
    async with started(file, tmp_path) as service:

        async def hang(_call, *, deadline):
            assert deadline == service_module.READ_DEADLINE
            raise TimeoutError

        monkeypatch.setattr(service._config_thread, "run", hang)
        with pytest.raises(ControlError, match="did not finish within 20 s"):
            await service.apply_config()


async def test_limits_and_their_signal_apply_at_once(file, tmp_path, levels):
    async with started(file, tmp_path) as service:
        file.change(limits={"temperature_high": 20.0, "led": "on"})
        outcome = await service.apply_config()
        assert (outcome.applied, outcome.restart, outcome.overridden) == (
            ("temperature_high in [limits]", "led in [limits]"),
            (),
            [],
        )
        status = await service.status()
        assert status.limits.in_force == {"temperatureHigh": 20.0}
        assert status.properties["temperatureHigh"] == 20
        assert service._sink._unreported["temperatureHigh"]["ac"] == 203
        assert service.snapshot()["limitStatus"] == "unknown"


async def test_the_operators_limit_stays_in_force_over_a_restart(file, tmp_path, levels):
    async with started(file, tmp_path) as service:
        await service._sink._properties.apply_patch({"temperatureHigh": 30, "$version": 2})
        assert (await service.status()).limits.in_force == {"temperatureHigh": 30.0}
    async with started(file, tmp_path) as service:
        assert (await service.status()).limits.in_force == {"temperatureHigh": 30.0}
        file.change(limits={"temperature_high": 20.0, "temperature_low": 29.5})
        outcome = await service.apply_config()
        # One is the operator's, the other contradicts it.
        assert outcome.overridden == ["temperature_low in [limits]", "temperature_high in [limits]"]
        assert (await service.status()).limits.in_force == {"temperatureHigh": 30.0}


async def test_without_a_cloud_limits_apply_too(file, tmp_path, levels):
    file.config = replace(file.config, cloud=None)
    async with started(file, tmp_path) as service:
        file.change(limits={"humidity_low": 20})
        assert (await service.apply_config()).applied == ("humidity_low in [limits]",)
        assert (await service.status()).limits.in_force == {"humidityLow": 20}

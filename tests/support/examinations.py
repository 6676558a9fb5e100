"""Examinations of a machine that has only the files a test makes, and no daemon."""

import base64
from pathlib import Path

from fakes import HandClock, open_outbox

from agent.config.loader import CloudConfig, Config, DeviceConfig, LedConfig, SensorConfig
from agent.diagnostics.examination import Examination
from agent.readings.disk import Directory
from agent.readings.outbox import OUTBOX_NAME
from hw import Reading

CONFIG = Config(
    device=DeviceConfig(id="pi-1"),
    cloud=CloudConfig(id_scope="0ne0", key_file=Path("key")),
    sensor=SensorConfig(driver="dht22"),
    led=LedConfig(driver="gpiozero"),
)
FAKE = Config(
    device=DeviceConfig(id="pi-1"),
    sensor=SensorConfig(driver="fake"),
    led=LedConfig(driver="fake"),
)
MODEL = "proc/device-tree/model"


def examination(root, config=CONFIG, **options):
    """Return an examination; `root` is the root directory, and has the configuration too."""
    defaults = {
        "path": root / "config.toml",
        "state": root / "state",
        "installed": "1.2.3",
        "environ": {},
        "is_root": False,
        "may_use": lambda _file: True,
        "is_installed": lambda _module: True,
        "version": lambda _package: "1.0",
        "vcgencmd": lambda: None,
    }
    return Examination(root=root, config=config, **(defaults | options))


async def outbox_with(state, *, readings):
    """Leave readings in the outbox of a state directory. Returns its folder."""
    disk = Directory(state / OUTBOX_NAME, before_create=lambda: state.mkdir(exist_ok=True))
    outbox = await open_outbox(disk, state=state)
    for _ in range(readings):
        await outbox.add(Reading(20.0, 50.0), HandClock().stamp())
    await outbox.close()
    return disk.path


def raspberry_pi(root):
    """Make `root` a Raspberry Pi."""
    write(root, MODEL, "Raspberry Pi 4 Model B Rev 1.5\0")


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_key(root):
    """Write the key that CONFIG names."""
    key = write(root, "key", base64.b64encode(b"k" * 32).decode())
    key.chmod(0o600)
    return key

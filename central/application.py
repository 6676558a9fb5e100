"""How central is to run, and what a running one consists of."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from central.hub.hub import Hub
from central.storage.registry import Registry
from central.storage.store import Store
from central.transport.faults import Faults
from central.transport.listener import LOOPBACK

MQTT_PORT = 8883  # The SDK knows no other.


@dataclass(frozen=True)
class Settings:
    """How central is to run. `http_port` None is 8080, or the next one that is free."""

    data_dir: Path
    listen: str = LOOPBACK
    mqtt_port: int = MQTT_PORT
    http_port: int | None = None
    templates: tuple[dict[str, Any], ...] = ()
    room_socket: Path | None = None
    clock: Callable[[], float] = time.time
    keep_days: float = 30.0  # History that is older is forgotten, and what makes its file larger
    keep_megabytes: float = 1024.0  # than this.
    proxy_user: str | None = None  # Without one, the proxy asks for no password.
    proxy_password: str | None = None


@dataclass
class Central:
    """A central that listens."""

    settings: Settings
    registry: Registry
    hub: Hub
    faults: Faults
    mqtt_host: str  # What devices reach it by.
    mqtt_port: int
    proxy: str  # URL
    http: str = ""  # The console's base URL.

    @property
    def store(self) -> Store:
        """The database: `central.store.read(history.commands, device_id)`."""
        return self.registry.store

    @property
    def id_scope(self) -> str:
        return self.registry.id_scope

    @property
    def ca_file(self) -> Path:
        return self.settings.data_dir / "ca.pem"

    @property
    def group_key_file(self) -> Path:
        return self.settings.data_dir / "group-key"

    def info(self) -> dict[str, str | int]:
        """Return what stands in central.json."""
        return {
            "http": self.http,
            "mqtt_host": self.mqtt_host,
            "mqtt_port": self.mqtt_port,
            "id_scope": self.id_scope,
            "ca_file": str(self.ca_file),
            "group_key_file": str(self.group_key_file),
            "proxy": self.proxy,
        }

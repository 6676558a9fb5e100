"""The settings of a central, and what a running one consists of."""

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from central.hub.hub import Hub
from central.rules.alerts import Alerts
from central.storage.registry import Registry
from central.storage.store import Store
from central.transport.admission import Admission
from central.transport.faults import Faults
from central.transport.listener import LOOPBACK

if TYPE_CHECKING:
    from central.rules.actions import Webhooks

MQTT_PORT = 8883  # Fixed in Azure's SDKs.


@dataclass(frozen=True)
class Settings:
    """How a central is to run."""

    data_dir: Path
    """Directory for the database, the keys and the certificates. It is created if it is missing;
    only one central at a time may use it."""

    listen: str = LOOPBACK
    """Address for MQTT over TLS: an IP address or a host name of this machine, or 0.0.0.0 or :: for
    all of them. If the port is taken on 127.0.0.1, the next free of 127.0.0.2 to 127.0.0.250."""

    mqtt_port: int = MQTT_PORT
    """TCP port for MQTT; 0 is any free one, which Azure's SDKs cannot reach."""

    http_port: int | None = None
    """TCP port of the console; 0 is any free one. None is 8080 on loopback, else 8443, or the next
    free one of a hundred."""

    console_listen: str = LOOPBACK
    """Address for the console, as in `listen`. On any other than a loopback address it has TLS,
    and users sign in; there must be an administrator."""

    console_certificate: Path | None = None
    """Certificate for the console (PEM, with its chain), in place of one of its own. It is read
    again when it changes."""

    console_key: Path | None = None
    """The private key of `console_certificate` (PEM, without a password)."""

    id_scopes: int = 1
    """Minimum number of ID scopes. Each has its own hub name. Existing ID scopes are kept."""

    templates: tuple[dict[str, Any], ...] = ()
    """Device templates to add, as DTDL v2 interfaces with an `@id`. One that the operator edited or
    deleted since stays as it is until its text here changes."""

    room_socket: Path | None = None
    """Control socket of a daemon with simulated hardware, whose sensor the console can then set."""

    local_webhooks: bool = False
    """Whether alerts may be sent to webhooks at loopback and link-local addresses."""

    clock: Callable[[], float] = time.time
    """Returns the current time, in unix seconds."""

    keep_days: float = 30.0
    """Maximum age of messages and commands, in days."""

    keep_megabytes: float = 1024.0
    """Maximum size of the database, in MiB in use; the oldest messages are deleted beyond it."""

    proxy_user: str | None = None
    """User name that the proxy for Azure's host names asks for; None lets every local client in."""

    proxy_password: str | None = None
    """Password that belongs to `proxy_user`; None is an empty one."""


@dataclass
class Central:
    """A running central, as `open_server` and `open_central` yield it.

    To look something up: `central.store.read(history.commands, device_id)`, from any thread. All
    other methods of its parts are for the thread of its event loop.
    """

    settings: Settings
    registry: Registry
    """Devices, twins, messages and commands: every change, and the event that reports it."""

    hub: Hub
    """The connected devices: call commands, set desired properties, disconnect."""

    faults: Faults
    """Faults to inject, for tests."""

    mqtt_host: str
    """Address or name by which devices reach it."""

    mqtt_port: int
    """TCP port on which devices reach it."""

    proxy: str
    """URL of the proxy for programs that use Azure's host names."""

    hubs: Mapping[str, str]
    """The hub's host name for each ID scope but the first, whose hub has `mqtt_host` or any name
    by which a device reaches it."""

    admission: Admission
    """The clients of the hubs that have not signed in, for their number."""

    alerts: Alerts
    """The rules at work."""

    webhooks: "Webhooks"
    """What sends alerts to webhooks."""

    http: str = ""
    """The console's base URL; empty without a console."""

    console_fingerprint: str | None = None
    """SHA-256 fingerprint of the authority of the console's own certificate, if it has one."""

    @property
    def store(self) -> Store:
        """The database, for queries of `central.storage`."""
        return self.registry.store

    @property
    def id_scope(self) -> str:
        """The first ID scope with which devices register."""
        return self.registry.id_scope

    @property
    def id_scopes(self) -> dict[str, str]:
        """All ID scopes, each with the host name of its hub."""
        return {self.id_scope: self.mqtt_host, **self.hubs}

    @property
    def ca_file(self) -> Path:
        """The certificate (PEM) that devices must trust."""
        return self.settings.data_dir / "ca.pem"

    @property
    def group_key_file(self) -> Path:
        """The key of the enrolment group, in base64."""
        return self.settings.data_dir / "group-key"

    @property
    def console_token_file(self) -> Path:
        """The API token with which whoever can read it may do anything in the console."""
        return self.settings.data_dir / "console-token"

    @property
    def console_ca_file(self) -> Path:
        """The authority of the console's own certificate (PEM), if it has one."""
        return self.settings.data_dir / "console-ca.pem"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        listen = self.settings.listen
        return listen in {"localhost", "::1"} or listen.startswith("127.")

    def info(self) -> dict[str, str | int | dict[str, str]]:
        """Return the content of central.json, in which scripts find a running central."""
        return {
            "http": self.http,
            "mqtt_host": self.mqtt_host,
            "mqtt_port": self.mqtt_port,
            "id_scope": self.id_scope,
            "id_scopes": self.id_scopes,
            "ca_file": str(self.ca_file),
            "group_key_file": str(self.group_key_file),
            "proxy": self.proxy,
            "console_token_file": str(self.console_token_file),
            **({"console_ca_file": str(self.console_ca_file)} if self.console_fingerprint else {}),
        }

    def summary(self) -> str:
        """Return what an operator needs to know at the start, with commands ready to copy."""
        data = self.settings.data_dir
        if self.is_local:
            elsewhere = (
                "Devices on other machines cannot reach it. For them, start central with --listen\n"
                "and an address of this machine."
            )
        else:
            elsewhere = f"""\
To connect the service of another machine, copy {self.group_key_file}
and {self.ca_file} there, and run beside them:
    sudo sensor-agent setup --id-scope {self.id_scope} --group-key-file group-key \
--provisioning-host {self.mqtt_host} --ca-file ca.pem"""
        return f"""\
Console:             {self.http}
{self._console_lines()}
Devices connect to:  {self.mqtt_host} port {self.mqtt_port}
{self._scope_lines()}
Group key:           {self.group_key_file}
CA certificate:      {self.ca_file}
Data directory:      {data}
Proxy for programs that use Azure's host names:  mqtt_proxy={self.proxy}

To connect the service of this machine (with --fake-hw if it is not a Raspberry Pi):
    sudo sensor-agent setup --central {shlex.quote(str(data))}
{elsewhere}

Press Ctrl-C to stop."""

    def _console_lines(self) -> str:
        lines = [f"Console token:       {self.console_token_file}"]
        if self.console_fingerprint is not None:
            lines += [
                f"Console authority:   {self.console_ca_file}",
                f"SHA-256 fingerprint: {self.console_fingerprint}",
            ]
        return "\n".join(lines)

    def _scope_lines(self) -> str:
        if not self.hubs:
            return f"ID scope:            {self.id_scope}"
        return "\n".join(
            f"ID scope:            {id_scope}, with hub {hub}"
            for id_scope, hub in self.id_scopes.items()
        )

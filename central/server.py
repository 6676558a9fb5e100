"""Central's life: start, run, stop."""

import asyncio
import fcntl
import json
import logging
import os
import resource
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from central import directory, history, sas
from central.certificates import load_authority, server_context, write_secret
from central.errors import CentralError, DataDirectoryInUse, InvalidKey, StartError
from central.faults import Certificate, Faults
from central.hub import Hub
from central.listener import (
    LOOPBACK,
    MqttListener,
    accept_clients,
    listen,
    listen_for_mqtt,
    local_names,
)
from central.provisioning import Provisioning
from central.proxy import Proxy
from central.registry import Registry
from central.retention import keep_within
from central.store import Store

MQTT_PORT = 8883  # The SDK knows no other.
MOST_FILES = 16_384
STOPPING = 5.0  # Seconds for clients' last lines in the log.

log = logging.getLogger(__name__)


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


@asynccontextmanager
async def open_central(settings: Settings) -> AsyncIterator[Central]:
    """Run central for as long as the `async with` block lasts. Raise StartError."""
    async with AsyncExitStack() as stack:
        data = stack.enter_context(_locked(settings.data_dir.absolute()))
        settings = replace(settings, data_dir=data)
        store = Store(data / "central.db")
        stack.callback(store.close)
        store.call(history.end_what_is_open)
        registry = Registry(store, group_key=_group_key(data), clock=settings.clock)
        for template in settings.templates:
            store.call(partial(directory.hand_template, dtmi=template["@id"], interface=template))
        keeping = keep_within(
            store,
            days=settings.keep_days,
            megabytes=settings.keep_megabytes,
            clock=settings.clock,
        )
        await stack.enter_async_context(_running(keeping, "retention"))

        mqtt = stack.enter_context(listen_for_mqtt(settings.listen, settings.mqtt_port))
        host, port = mqtt.getsockname()[:2]
        names = await asyncio.to_thread(local_names, host)
        authority, devices = load_authority(data), load_authority(data, "device-ca")

        @cache
        def context(fault: Certificate | None) -> ssl.SSLContext:
            return server_context(authority, devices, [*names, host, *_host_names()], fault)

        own_names = frozenset((*names, host, "localhost"))
        everywhere = host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        proxy = Proxy(
            LOOPBACK if everywhere else host,
            port,
            own_names=own_names,
            user=settings.proxy_user,
            password=settings.proxy_password,
        )
        proxy_socket = stack.enter_context(listen(LOOPBACK, 0))

        faults = Faults()
        hub = Hub(registry, store, faults=faults, clock=settings.clock)
        provisioning = Provisioning(registry, faults=faults, clock=settings.clock)
        listener = MqttListener(context, provisioning=provisioning, hub=hub, faults=faults)
        faults.listens(mqtt)
        for sock, serve, name, pause in [
            (mqtt, listener.serve, "mqtt", faults.until_listening),
            (proxy_socket, proxy.serve, "proxy", _at_once),
        ]:
            accepting = accept_clients(sock, serve, name=name, pause=pause)
            await stack.enter_async_context(_running(accepting, name))

        proxy_url = f"http://{LOOPBACK}:{proxy_socket.getsockname()[1]}"
        central = Central(settings, registry, hub, faults, names[0], port, proxy_url)
        await _open_console(central, stack)
        stack.enter_context(_announced(central))
        log.info("Central listens on %s port %d; its page is %s.", host, port, central.http)
        yield central
        log.info("Central stops.")


async def _open_console(central: Central, stack: AsyncExitStack) -> None:
    # Imported here: aiohttp takes a while, and whoever cannot start should know it before.
    from central.console.app import start_console  # noqa: PLC0415 - see above

    console = await start_console(central, port=central.settings.http_port)
    stack.push_async_callback(console.close)
    central.http = console.url


Catch = Callable[[asyncio.AbstractEventLoop, Callable[[], object]], None]


def run(settings: Settings, *, catch: Catch) -> int:
    """Run central until a signal stops it, printing its addresses; return the exit status.

    `catch(loop, stop)` makes the signals call `stop` in the loop.
    """
    _allow_many_files()
    try:
        asyncio.run(_run_until_signal(settings, catch))
    except CentralError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:  # It names the file: a key of another user's, a full disk.
        print(f"Central cannot work: {error}.", file=sys.stderr)
        return 1
    return 0


def _allow_many_files() -> None:
    """Let there be as many connections as the system allows: often it is asked for 1024 only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run_until_signal(settings: Settings, catch: Catch) -> None:
    stop = asyncio.Event()
    catch(asyncio.get_running_loop(), stop.set)
    async with open_central(settings) as central:
        print(f"Central's page:      {central.http}")
        print(f"Devices connect to:  {central.mqtt_host} port {central.mqtt_port}")
        print(f"ID scope:            {central.id_scope}")
        print(f"Group key in:        {central.group_key_file}")
        print(f"CA certificate in:   {central.ca_file}")
        print(f"Proxy for programs that know Azure's names:  mqtt_proxy={central.proxy}")
        print("Ctrl-C stops it.", flush=True)
        await stop.wait()


@contextmanager
def _locked(directory: Path) -> Iterator[Path]:
    """Make the data directory, and keep every other central out of it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "central.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"{directory} cannot be used as data directory: {error}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield directory
    except BlockingIOError:
        raise DataDirectoryInUse(directory) from None
    finally:
        os.close(lock)


def _group_key(directory: Path) -> str:
    """Return the group's key, made at the first start."""
    path = directory / "group-key"
    if not path.exists():
        write_secret(path, sas.new_key().encode() + b"\n")
    try:
        return sas.check_key(path.read_text().strip())
    except (InvalidKey, UnicodeDecodeError):
        raise StartError(f"{path} holds no key. Remove it to get a new one.") from None


def _host_names() -> list[str]:
    name = socket.gethostname()
    return [name, f"{name}.local"]


@asynccontextmanager
async def _running(coroutine: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a task for as long as the `async with` block lasts."""
    task = asyncio.create_task(coroutine, name=f"central-{name}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=STOPPING)


async def _at_once() -> None:
    """Accept whoever comes."""


@contextmanager
def _announced(central: Central) -> Iterator[None]:
    """Keep central.json for scripts while central listens."""
    path = central.settings.data_dir / "central.json"
    temporary = path.with_suffix(".json.new")
    temporary.write_text(json.dumps(central.info(), indent=2) + "\n")
    temporary.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)

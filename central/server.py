"""Start and stop central without its console."""

import asyncio
import hashlib
import logging
import os
import pwd
import shlex
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from central.application import Central, Settings
from central.errors import (
    DataDirectoryInUse,
    FileMissing,
    InvalidKey,
    StartError,
)
from central.hub.hub import Hub
from central.hub.provisioning import Provisioning
from central.protocol import sas
from central.rules.alerts import Alerts
from central.storage import devices, history, templates
from central.storage.data_directory import locked
from central.storage.registry import Registry
from central.storage.retention import keep_within
from central.storage.store import Store
from central.transport.certificates import HubCertificates, load_authority
from central.transport.faults import Faults
from central.transport.issuing import file_holds, utc_now, write_file
from central.transport.listener import (
    LOOPBACK,
    MqttListener,
    accept_clients,
    listen,
    listen_beside,
    listen_for_mqtt,
    local_names,
)
from central.transport.memory import give_memory_back
from central.transport.proxy import Proxy

STOPPING = 5.0  # Seconds for the connections to end and be recorded.

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncIterator[Central]:
    """Run central without its console inside the `async with` block.

    Devices can connect when the block begins. `central.console.run.open_central` adds the console.
    Raise StartError, StoreError if the database cannot be used, or OSError if another file of the
    data directory cannot be read or written.
    """
    if os.geteuid() == 0:  # Another owner could put links there to any file of the machine.
        _check_owner(settings.data_dir.absolute())
    async with AsyncExitStack() as stack:
        data = stack.enter_context(locked(settings.data_dir.absolute()))
        settings = replace(settings, data_dir=data)
        _check_database(data)
        store = Store(data / "central.db")
        stack.callback(store.close)
        store.call(history.end_interrupted)
        # The ID scope is kept last of what a first start makes: a start that was interrupted before
        # may be repeated, and after it no file is made a second time unasked.
        new = not store.read(devices.has_id_scope)
        group_key = _group_key(data, store, new=new)
        now = utc_now(settings.clock)
        authority = load_authority(data, "ca", new=new, now=now)
        device_authority = load_authority(data, "device-ca", new=new, now=now)
        registry = Registry(
            store, group_key=group_key, clock=settings.clock, id_scopes=settings.id_scopes
        )
        for template in settings.templates:
            store.call(templates.put_shipped, template)
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
        more = registry.id_scopes[1:]
        others = [stack.enter_context(sock) for sock in listen_beside(host, port, len(more))]
        hubs = dict(zip(more, hub_names(host, names, others, len(more)), strict=True))

        certificates = HubCertificates(
            authority,
            device_authority,
            [*names, host, *_host_names(), *hubs.values()],
            settings.clock,
        )
        own_names = frozenset((*names, host, "localhost", *hubs.values()))
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
        hub = Hub(registry, faults=faults, clock=settings.clock, hubs=hubs)
        alerts = Alerts(
            store,
            registry.events,
            clock=settings.clock,
            last_seen=hub.presence.last_seen,
            keep_days=settings.keep_days,
        )
        await stack.enter_async_context(_running(alerts.run(), "rules"))
        # Imported late, because aiohttp takes a while and central may fail to start.
        from central.rules.actions import Webhooks  # noqa: PLC0415 - see above

        webhooks = Webhooks(
            store, registry.events, clock=settings.clock, allow_local=settings.local_webhooks
        )
        await stack.enter_async_context(_running(webhooks.run(), "webhooks"))
        provisioning = Provisioning(registry, faults=faults, clock=settings.clock, hubs=hubs)
        listener = MqttListener(
            certificates.context, provisioning=provisioning, hub=hub, faults=faults
        )
        for sock in (mqtt, *others):
            faults.add_listening_socket(sock)
        for sock, serve, name, pause in [
            *[(sock, listener.serve, "mqtt", faults.until_listening) for sock in (mqtt, *others)],
            (proxy_socket, proxy.serve, "proxy", _at_once),
        ]:
            accepting = accept_clients(sock, serve, name=name, pause=pause)
            await stack.enter_async_context(_running(accepting, name))

        memory = give_memory_back(listener.admission)
        await stack.enter_async_context(_running(memory, "memory"))

        proxy_url = f"http://{LOOPBACK}:{proxy_socket.getsockname()[1]}"
        yield Central(
            settings,
            registry,
            hub,
            faults,
            names[0],
            port,
            proxy_url,
            hubs,
            listener.admission,
            alerts,
            webhooks,
        )


@contextmanager
def open_store(directory: Path) -> Iterator[Store]:
    """Open the database of a central to change who may use its console; central may be running.

    Raise StartError or StoreError.
    """
    directory = directory.absolute()
    _check_owner(directory)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(directory))
        except DataDirectoryInUse:
            running = True  # It has upgraded the database already.
        else:
            running = False
            _check_database(directory)
        store = Store(directory / "central.db", upgrade=not running)
        stack.callback(store.close)
        yield store


def _check_owner(directory: Path) -> None:
    """Raise StartError for the directory of another user: that one could not use what is made."""
    try:
        owner = directory.stat().st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"
        raise StartError(
            f"{directory} belongs to the user {name}. Put `sudo -u {shlex.quote(name)}` before the "
            "command."
        )


def _check_database(directory: Path) -> None:
    """Raise FileMissing if only the database is missing of what an earlier start made."""
    database = directory / "central.db"
    started = any((directory / name).exists() for name in ("group-key", "ca.pem"))
    if started and not database.exists():
        loss = "the ID scope changes, and devices that are configured with the old one are refused"
        raise FileMissing(database, loss=loss)


def _group_key(directory: Path, store: Store, *, new: bool) -> str:
    """Return the group's key. It is made if the directory is `new`, or if its file is empty.

    Raise StartError for another key than the one before, as in the directory of another central.
    """
    path = directory / "group-key"
    loss = "devices enrolled with the old one are refused"
    if not file_holds(path, new=new, loss=loss):
        store.call(devices.forget_group_key)
        write_file(path, sas.new_key().encode() + b"\n")
    try:
        key = sas.check_key(path.read_text().strip())
    except (InvalidKey, UnicodeDecodeError):
        raise StartError(
            f"{path} does not hold a key. Put it back from a backup, or empty it to have a new one "
            f"made ({loss})."
        ) from None
    if not store.call(devices.keep_group_key, hashlib.sha256(key.encode()).hexdigest()):
        raise StartError(
            f"{path} holds another key than at the last start, so {loss}. Put the earlier key back "
            "from a backup, or empty the file to have a new one made."
        )
    return key


def hub_names(
    host: str, names: Sequence[str], others: Sequence[socket.socket], count: int
) -> list[str]:
    """Return the host names of the hubs of `count` more ID scopes. Raise StartError.

    They are the addresses of `others`, or else further names of this machine.
    """
    if others:
        return [sock.getsockname()[0] for sock in others]
    first, *_ = names
    known = dict.fromkeys([*reversed(_host_names()), *names[1:]])
    found = [name for name in known if name not in {first, host}][:count]
    if len(found) < count:
        raise StartError(
            f"Cannot make {count + 1} ID scopes: each needs a name of this machine for its hub, "
            f"and there are {len(found) + 1}. Choose fewer with --id-scopes."
        )
    return found


def _host_names() -> list[str]:
    name = socket.gethostname()
    return [name, f"{name}.local"]


@asynccontextmanager
async def _running(coroutine: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a task inside the `async with` block, and cancel it at the end."""
    task = asyncio.create_task(coroutine, name=f"central-{name}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=STOPPING)


async def _at_once() -> None:
    """Accept the next client without a pause."""

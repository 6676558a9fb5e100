"""Other ways in than MQTT with a key: certificates, websockets, proxies; with the real SDK."""

import asyncio
import json
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from centrals import running_central
from clouds import Cloud, ask
from ways import without_provisioning

from agent.cloud.hub import AzureHub
from agent.cloud.message import Message
from agent.cloud.registration import register
from agent.cloud.session import Command, Event, open_session
from agent.config.credentials import Credentials, derive_device_key
from agent.config.loader import CloudConfig
from agent.device.model import CELSIUS
from agent.errors import RefusedError, RegistrationError, UnreachableError
from agent.storage.assignment import Assignment
from central.storage import telemetry
from central.transport.certificates import issue_device_certificate, load_authority
from central.transport.listener import listen


@pytest.fixture
def central(tmp_path):
    with running_central(
        tmp_path / "central", proxy_user="ada", proxy_password="secret"
    ) as central:
        yield central


@pytest.fixture
def cloud(central):
    return CloudConfig(
        id_scope=central.info["id_scope"],
        provisioning_host=central.info["mqtt_host"],
        keep_alive=4,
    )


@pytest.fixture
def with_key(central):
    return Credentials(key=central.key("pi-1"), ca=central.ca)


@pytest.fixture
def with_certificate(central):
    def sign_in(device_id="pi-1"):
        directory = Path(central.info["ca_file"]).parent
        certificate, key = issue_device_certificate(directory, device_id, datetime.now(UTC))
        return Credentials(x509_cert_file=certificate, x509_key_file=key, ca=central.ca)

    return sign_in


def access(cloud, credentials):
    return AzureHub(cloud=cloud, credentials=credentials, device_id="pi-1", model_id=CELSIUS)


async def use(central, cloud, credentials):
    """Register, send, report, be asked for a command; return what central has of it."""
    assignment = await access(cloud, credentials).register(cloud.id_scope)
    events: asyncio.Queue[Event] = asyncio.Queue()
    async with open_session(access(cloud, credentials), assignment, events) as session:
        await session.send(Message("box:1", '{"temp": 21.5}', {}))
        await session.report({"state": True})
        assert (await session.twin())["reported"]["state"] is True
        asked = asyncio.create_task(ask(central, lambda c: c.hub.call("pi-1", "blink", 5)))
        command = await events.get()
        assert isinstance(command, Command)
        await session.answer(command, 200, None)
        assert (await asked).status == 200
    (message,) = central.read(telemetry.messages, "pi-1")
    assert json.loads(message.body) == {"temp": 21.5}
    return assignment


async def test_a_certificate_in_place_of_a_key(central, cloud, with_certificate):
    await use(central, cloud, with_certificate())


async def test_a_certificate_for_another_device_is_refused(central, cloud, with_certificate):
    credentials = with_certificate("pi-2")
    with pytest.raises(RegistrationError, match="401"):
        await register(access(cloud, credentials))
    await register(access(cloud, with_certificate()))
    hub = Assignment(cloud.provisioning_host, "pi-1")
    with pytest.raises(RefusedError):
        async with open_session(access(cloud, credentials), hub, asyncio.Queue()):
            pass


async def test_a_certificate_that_nobody_here_signed_is_refused(
    central, cloud, with_certificate, tmp_path
):
    load_authority(tmp_path, "device-ca", new=True, now=datetime.now(UTC))
    certificate, key = issue_device_certificate(tmp_path, "pi-1", datetime.now(UTC))
    strange = replace(with_certificate(), x509_cert_file=certificate, x509_key_file=key)
    with pytest.raises(UnreachableError):
        await register(access(cloud, strange))


async def test_a_blocked_device_is_refused_for_all_its_certificate(
    central, cloud, with_certificate
):
    await register(access(cloud, with_certificate()))
    central.call(lambda c: c.registry.update_device("pi-1", enabled=False))
    with pytest.raises(RegistrationError):
        await register(access(cloud, with_certificate()))


PATIENCE = 10.0
# Threads that are made once: our executors, the SDK's loops, and the default executor of a loop.
LIVES_ON = re.compile(r"^(azure-|asyncio_|callback$|pipeline$)|\(run_forever\)$")


def through(central, cloud, scheme, **changes):
    proxy = urlsplit(central.info["proxy"])
    return replace(cloud, proxy=f"{scheme}://{proxy.hostname}:{proxy.port}", **changes)


@pytest.mark.parametrize("transport", ["mqtt", "websockets"])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_through_a_proxy(central, tmp_path, way, scheme, transport):
    device = Cloud(central, tmp_path / "pi", way)
    cloud = through(central, device.config, scheme, transport=transport, proxy_user="ada")
    before = set(threading.enumerate())
    await use(central, cloud, replace(device.credentials, proxy_password="secret"))
    for thread in set(threading.enumerate()) - before:
        if not LIVES_ON.search(thread.name):
            thread.join(
                PATIENCE
            )  # A timer of the SDK's, which was cancelled, ends in its own time.
            assert not thread.is_alive(), thread


@without_provisioning
async def test_a_hub_without_provisioning_by_its_azure_name_through_a_proxy(central, tmp_path, way):
    device = Cloud(central, tmp_path / "pi", way)
    hub = CloudConfig(hub="central.azure-devices.net", keep_alive=4)
    cloud = through(central, hub, "http", proxy_user="ada")
    assignment = await use(central, cloud, replace(device.credentials, proxy_password="secret"))
    assert assignment == Assignment("central.azure-devices.net", "pi-1")


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_refuses_the_password_is_named(central, cloud, with_key, scheme):
    cloud = through(central, cloud, scheme, proxy_user="ada")
    credentials = replace(with_key, proxy_password="wrong")
    with pytest.raises(UnreachableError, match="proxy") as caught:
        await register(access(cloud, credentials))
    assert "wrong" not in str(caught.value)


async def test_a_proxy_that_is_not_there_is_named(cloud, with_key):
    with listen("127.0.0.1", 0) as taken:
        address = taken.getsockname()
    cloud = replace(cloud, proxy=f"http://{address[0]}:{address[1]}")
    with pytest.raises(UnreachableError, match="proxy"):
        await register(access(cloud, with_key))


async def test_a_certificate_through_websockets(central, cloud, with_certificate):
    cloud = through(central, cloud, "http", transport="websockets", proxy_user="ada")
    await use(central, cloud, replace(with_certificate(), proxy_password="secret"))


def test_the_key_is_derived_as_the_service_does(central):
    group = Path(central.info["group_key_file"]).read_text().strip()
    assert derive_device_key(group, "pi-1") == central.key("pi-1")

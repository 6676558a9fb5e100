"""Why a connection fails: the daemon's sentence for each reason, with the real SDK and central."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from centrals import running_central
from clouds import Cloud
from fakes import open_outbox, until
from rigs import Rig, moves_of
from ways import CONNECTION_STRING, PROVISIONING, in_ways, with_provisioning

from agent.cloud import sdk, session
from agent.errors import CloudError, RegistrationError
from central.protocol.mqtt import ConnAck, ConnectCode, PingResp, PubAck, SubAck

KEEP_ALIVE = 4
pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def cloud(tmp_path, way):
    with running_central(tmp_path / "central") as central:
        yield Cloud(central, tmp_path / "pi", way, keep_alive=KEEP_ALIVE)


@asynccontextmanager
async def uplink(cloud, *, waiting=1):
    """Run an uplink with so many readings to send."""
    moves = moves_of(id_scope=cloud.config.id_scope)
    rig = Rig(await open_outbox(), cloud.hub, moves=moves)
    await rig.add(waiting)
    async with rig.running():
        yield rig


async def begin(cloud, **faults):
    def setting(central):
        for name, value in faults.items():
            setattr(central.faults, name, value)

    await cloud.ask(setting)


def reason(rig):
    return str(rig.uplink.cloud_status().error)


async def until_reason(rig, words):
    """Wait until the daemon gives this reason, and return the sentence."""
    try:
        async with asyncio.timeout(60):
            await until(lambda: words in reason(rig))
    except TimeoutError:
        pytest.fail(f"{words!r} is not in {reason(rig)!r}")
    return reason(rig)


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        (
            {"quota": "closed"},
            "accepts connections, but takes no messages. Most likely its daily quota is used up",
        ),
        (
            {"quota": "silent"},
            "accepts connections, but takes no messages. Most likely its daily quota is used up",
        ),
        (
            {"rival": 0.2},
            "closed a working connection 3 times within 10 minutes. Most likely another device",
        ),
        (
            {"failing": True},
            "accepted the connection and closed it at once: the service is failing",
        ),
        (
            {"connack": ConnectCode.UNAVAILABLE},
            "refuses connections for now: the service is failing or busy",
        ),
        (
            {"connack": ConnectCode.NOT_AUTHORIZED},
            (
                "refused the credentials of pi-1: the key or certificate belongs to another "
                "device, the device is disabled, deleted or "
            ),
        ),
        (
            {"network": "refuse"},
            "cannot be reached: Connection refused. If the local IoT Central is not running",
        ),
        ({"network": "reset"}, "cannot be reached: Connection reset by peer. To check each step"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_the_reason_is_named(cloud, faults, sentence):
    await begin(cloud, **faults)
    async with uplink(cloud) as rig:
        await until_reason(rig, sentence)


@with_provisioning
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("unavailable", "503001 Service unavailable. The service itself failed."),
        ("error", "500001 Internal server error. The service itself failed."),
        ("throttled", "429001 Too many requests. The daemon tries again later."),
        ("unauthorized", "Unauthorized. Check that the key or certificate belongs to this device"),
        ("failed", "the device is failed"),
        ("disabled", "the device is disabled"),
        ("silent", "was not answered within 3 s. The network or the service is slow or failing"),
    ],
)
async def test_what_the_provisioning_service_answers_is_named(cloud, fault, said):
    await begin(cloud, registration=fault)
    with pytest.raises(CloudError) as caught:
        # An answer may take long on a machine under load.
        await cloud.register(deadline=3.0 if fault == "silent" else 10.0)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("packet", "sentence"),
    [
        (ConnAck, "was not answered within 5 s. The network or the service is slow or failing"),
        (SubAck, "A subscription was not answered within 5 s."),
        (PubAck, "accepts connections, but takes no messages."),
    ],
)
async def test_a_hub_that_does_not_answer_is_named(cloud, packet, sentence):
    async with uplink(cloud) as rig:
        await until(lambda: rig.uplink.hub is not None and rig.outbox.waiting == 0)
        await begin(cloud, withheld={packet})
        await rig.add(1)
        await cloud.ask(lambda central: central.faults.drop_connections())
        await until_reason(rig, sentence)


@with_provisioning
@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        (False, r"it refused the connection\. Most likely the ID scope does not exist"),
        (True, r"it refused the connection\. Most likely the service is failing or busy"),
    ],
)
async def test_a_provisioning_service_that_refuses_the_connection_is_explained_by_the_past(
    cloud, known, sentence
):
    cloud.config = replace(cloud.config, id_scope="0ne00000000")
    with pytest.raises(RegistrationError, match=sentence) as caught:
        await cloud.register(known=known)
    assert caught.value.is_busy is known


async def test_a_hub_that_answers_503_is_at_fault_and_the_connection_stays(cloud, caplog):
    await begin(cloud, twin="unavailable")
    async with uplink(cloud) as rig:
        await until(lambda: "status 503" in caplog.text)
        assert "with status 503: the service itself failed." in caplog.text
        assert rig.uplink.hub is not None


async def test_a_hub_with_too_many_requests_is_named(cloud, caplog):
    await begin(cloud, twin="throttled")
    async with uplink(cloud) as rig:
        await until(lambda: "status 429" in caplog.text)
        assert "the devices of this hub send too many requests, or the hub's daily" in caplog.text
        assert rig.uplink.hub is not None


async def test_a_connection_that_ends_once_has_all_causes_named(cloud):
    async with uplink(cloud) as rig:
        await until(lambda: rig.uplink.hub is not None and rig.outbox.waiting == 0)
        await cloud.ask(lambda central: central.faults.drop_connections())
        await until_reason(
            rig,
            "closed the connection, and the daemon reconnects. Possible causes, the most likely "
            "first: the hub was restarted",
        )


async def test_a_server_that_stops_answering_is_named(cloud, monkeypatch):
    monkeypatch.setattr(session, "ANSWER_DEADLINE", 30.0)
    async with uplink(cloud) as rig:
        await until(lambda: rig.uplink.hub is not None and rig.outbox.waiting == 0)
        await begin(cloud, withheld={PingResp, PubAck})
        await rig.add(1)
        await until_reason(rig, "the server accepted the connection and then stopped answering.")


@in_ways(PROVISIONING, CONNECTION_STRING)
async def test_a_renewal_of_the_token_that_fails_is_named(cloud, monkeypatch):
    monkeypatch.setattr(sdk, "SAS_TOKEN_LIFETIME", 122)  # The SDK renews it 120 s earlier.
    async with uplink(cloud) as rig:
        await until(lambda: rig.uplink.hub is not None and rig.outbox.waiting == 0)
        await begin(cloud, network="reset")
        await until_reason(rig, "was lost during the hourly renewal of its token")


async def test_a_router_that_resets_idle_connections_is_named(cloud):
    async with uplink(cloud) as rig:
        for connections in (1, 2):
            await until(lambda n=connections: rig.uplink.connections == n)
            await until(lambda: rig.uplink.hub is not None and rig.outbox.waiting == 0)
            await asyncio.sleep(KEEP_ALIVE)  # Half of it after the last answer counts as idle.
            await cloud.ask(lambda central: central.faults.drop_connections())
        await until_reason(rig, "failed while it was idle.")


async def test_a_connection_that_a_router_forgets_is_named(cloud):
    async with uplink(cloud) as rig:
        await until(lambda: rig.uplink.hub is not None and rig.outbox.waiting == 0)
        await asyncio.sleep(KEEP_ALIVE / 2)
        await cloud.ask(lambda central: central.faults.half_open())
        await until_reason(rig, "failed while it was idle.")


async def test_a_certificate_that_expires_later_is_named(cloud):
    async with uplink(cloud) as rig:
        await until(lambda: rig.uplink.hub is not None and rig.outbox.waiting == 0)
        await begin(cloud, certificate="expired")
        await cloud.ask(lambda central: central.faults.drop_connections())
        host = cloud.central.info["mqtt_host"]
        await until_reason(rig, f"The certificate of {host} expired on")


async def test_a_device_that_is_blocked_is_named(cloud, way):
    async with uplink(cloud) as rig:
        await until(lambda: rig.uplink.hub is not None and rig.outbox.waiting == 0)
        await cloud.ask(lambda central: central.registry.update_device("pi-1", enabled=False))
        await until_reason(rig, "which it accepted before. Most likely the device was disabled")
        if way == PROVISIONING:  # Only this service says so.
            await until_reason(rig, "The device is blocked by the operator.")


async def test_a_device_that_is_deleted_is_named(cloud):
    async with uplink(cloud) as rig:
        await until(lambda: rig.uplink.hub is not None and rig.outbox.waiting == 0)
        await begin(cloud, registration="silent")  # It would be created again.
        await cloud.ask(lambda central: central.registry.delete_device("pi-1"))
        await until_reason(rig, "which it accepted before. Most likely the device was disabled")

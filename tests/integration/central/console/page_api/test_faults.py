"""The fault bench by HTTP: what can be made to go wrong, for how long, and what is on."""

import asyncio
import socket

import aiohttp
import pytest
from addresses import own_address
from consoles import MODEL, ask, climate_device, eventually, refused

from central.application import Settings
from central.console.page_api.faults import LASTING, other_name
from central.console.run import open_central
from central.transport.faults import Faults

FAULTS = "/console/api/faults"
PATIENCE = 20  # Seconds.


@pytest.fixture
async def central(tmp_path):
    settings = Settings(tmp_path / "central", listen=own_address(), http_port=0, templates=(MODEL,))
    async with open_central(settings) as central:
        central.registry.add_device("pi-1")
        yield central


@pytest.fixture
async def http(central):
    async with aiohttp.ClientSession(central.http) as session:
        yield session


def names(answer):
    return [each["name"] for each in answer["value"]]


async def test_at_first_nothing_is_wrong(http):
    assert await ask(http, "GET", FAULTS) == {"value": []}


@pytest.mark.parametrize("name", [name for name in LASTING if name != "move"])
async def test_a_fault_is_on_until_it_is_ended(http, central, name):
    [fault] = (await ask(http, "POST", f"{FAULTS}/{name}"))["value"]
    assert fault == {"name": name, "ends": None}
    assert names(await ask(http, "GET", FAULTS)) == [name]
    assert await ask(http, "DELETE", f"{FAULTS}/{name}") == {"value": []}
    attribute = LASTING[name].attribute
    assert getattr(central.faults, attribute) == getattr(Faults(), attribute)


async def test_a_fault_ends_by_itself(http):
    [fault] = (await ask(http, "POST", f"{FAULTS}/slow", {"seconds": 0.2}))["value"]
    assert fault["ends"].endswith("Z")

    async def is_over():
        return (await ask(http, "GET", FAULTS))["value"] == []

    await eventually(is_over)


async def test_a_fault_that_is_started_again_lasts_as_it_was_asked_last(http):
    await ask(http, "POST", f"{FAULTS}/slow", {"seconds": 0.05})
    [fault] = (await ask(http, "POST", f"{FAULTS}/slow"))["value"]
    await asyncio.sleep(0.1)
    assert (await ask(http, "GET", FAULTS))["value"] == [{"name": "slow", "ends": None}]
    assert fault["ends"] is None


async def test_all_are_ended_at_once(http):
    await ask(http, "POST", f"{FAULTS}/slow")
    assert names(await ask(http, "POST", f"{FAULTS}/twin", {"seconds": 60})) == ["slow", "twin"]
    assert await ask(http, "DELETE", FAULTS) == {"value": []}


@pytest.mark.parametrize("name", ["cut", "refuse", "unauthorized"])
async def test_what_only_new_connections_meet_cuts_the_open_ones(http, central, name):
    async with climate_device(central, "pi-1"):
        assert central.hub.presence.session("pi-1")
        await ask(http, "POST", f"{FAULTS}/{name}")
        await eventually(lambda: not central.hub.presence.session("pi-1"))
        await ask(http, "DELETE", FAULTS)


async def test_every_page_hears_of_it(http):
    async with http.get("/console/api/events?device=pi-1") as stream:
        await stream.content.readuntil(b"\n\n")  # hello
        await ask(http, "POST", f"{FAULTS}/slow")
        async with asyncio.timeout(PATIENCE):
            assert b"event: faults" in await stream.content.readuntil(b"\n\n")


@pytest.mark.parametrize("seconds", [0, -1, "5", True, 1e9, [], {}])
async def test_a_time_that_is_none_is_refused(http, central, seconds):
    await refused(http, "POST", f"{FAULTS}/slow", {"seconds": seconds}, expect=400)
    assert central.faults.latency == 0


async def test_an_unknown_fault_is_refused(http):
    for verb in ("POST", "DELETE"):
        await refused(http, verb, f"{FAULTS}/nonsense", expect=404)


class TestAnotherHub:
    @pytest.fixture(autouse=True)
    def addresses(self, monkeypatch):
        """This machine's names as they are on most."""
        found = {"localhost": "127.0.0.1", "pi": "127.0.1.1"}

        def getaddrinfo(name, _port):
            if name not in found:
                raise OSError(name)
            return [(None, None, None, None, (found[name], 0))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(socket, "gethostname", lambda: "pi")

    @pytest.mark.parametrize(
        ("listen", "host", "now", "then"),
        [
            ("127.0.0.1", "127.0.0.1", None, "localhost"),
            ("127.0.0.1", "127.0.0.1", "localhost", "127.0.0.1"),
            ("0.0.0.0", "192.168.1.5", None, "pi.local"),  # noqa: S104 - a setting
        ],
    )
    async def test_is_another_name_of_this_one(self, tmp_path, listen, host, now, then):
        assert other_name(StandIn(Settings(tmp_path, listen), host, now)) == then

    async def test_is_not_there_where_only_one_name_leads_here(self, tmp_path):
        with pytest.raises(Exception, match=r"Only the name 127\.0\.0\.2 leads to this central"):
            other_name(StandIn(Settings(tmp_path, "127.0.0.1"), "127.0.0.2", None))


class StandIn:
    def __init__(self, settings, mqtt_host, moved_to):
        self.settings = settings
        self.mqtt_host = mqtt_host
        self.faults = Faults()
        self.faults.moved_to = moved_to

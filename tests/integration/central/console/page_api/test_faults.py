"""Simulated faults over HTTP."""

import asyncio
import socket
from types import SimpleNamespace

import pytest
from consoles import ask, climate_device, eventually, refused

from central.application import Settings
from central.console.page_api.faults import FAULTS, Lasting, other_name
from central.transport.faults import Faults

PATH = "/console/api/faults"
LASTING = {name: fault for name, fault in FAULTS.items() if isinstance(fault, Lasting)}
PATIENCE = 20  # Seconds.


def on(answer):
    return {each["name"]: each["ends"] for each in answer["value"] if each["on"]}


async def test_no_fault_is_on_at_first(http):
    answer = await ask(http, "GET", PATH)
    assert [each["name"] for each in answer["value"]] == list(FAULTS)
    assert on(answer) == {}


@pytest.mark.parametrize("name", [name for name in LASTING if name != "move"])
async def test_a_fault_is_on_until_it_is_cleared(http, central, name):
    assert on(await ask(http, "POST", f"{PATH}/{name}")) == {name: None}
    assert on(await ask(http, "GET", PATH)) == {name: None}
    assert on(await ask(http, "DELETE", f"{PATH}/{name}")) == {}
    attribute = LASTING[name].attribute
    assert getattr(central.faults, attribute) == getattr(Faults(), attribute)


async def test_a_fault_ends_after_its_time(http):
    started = on(await ask(http, "POST", f"{PATH}/slow", {"seconds": 0.2}))
    assert started["slow"].endswith("Z")

    async def is_over():
        return on(await ask(http, "GET", PATH)) == {}

    await eventually(is_over)


async def test_starting_a_fault_again_replaces_its_time(http):
    await ask(http, "POST", f"{PATH}/slow", {"seconds": 0.05})
    assert on(await ask(http, "POST", f"{PATH}/slow")) == {"slow": None}
    await asyncio.sleep(0.1)
    assert on(await ask(http, "GET", PATH)) == {"slow": None}


async def test_all_faults_are_cleared_at_once(http):
    await ask(http, "POST", f"{PATH}/slow")
    assert on(await ask(http, "POST", f"{PATH}/twin", {"seconds": 60})).keys() == {"slow", "twin"}
    assert on(await ask(http, "DELETE", PATH)) == {}


@pytest.mark.parametrize("name", ["cut", "refuse", "unauthorized"])
async def test_faults_of_new_connections_close_the_open_ones(http, central, name):
    async with climate_device(central):
        assert central.hub.presence.session("pi-1")
        await ask(http, "POST", f"{PATH}/{name}")
        await eventually(lambda: not central.hub.presence.session("pi-1"))
        await ask(http, "DELETE", PATH)


async def test_a_change_is_published_to_every_page(http):
    async with http.get("/console/api/events?device=pi-1") as stream:
        await stream.content.readuntil(b"\n\n")  # hello
        await ask(http, "POST", f"{PATH}/slow")
        async with asyncio.timeout(PATIENCE):
            assert b"event: faults" in await stream.content.readuntil(b"\n\n")


@pytest.mark.parametrize("seconds", [0, -1, "5", True, 1e9, [], {}])
async def test_an_invalid_duration_is_refused(http, central, seconds):
    await refused(http, "POST", f"{PATH}/slow", {"seconds": seconds}, expect=400)
    assert central.faults.latency == 0


async def test_an_unknown_fault_is_refused(http):
    for verb in ("POST", "DELETE"):
        await refused(http, verb, f"{PATH}/nonsense", expect=404)


class TestAnotherHub:
    @pytest.fixture(autouse=True)
    def addresses(self, monkeypatch):
        """Name this machine as most are."""
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
    async def test_another_host_name_of_central_is_found(self, tmp_path, listen, host, now, then):
        assert other_name(central_with(Settings(tmp_path, listen), host, now)) == then

    async def test_a_central_with_one_name_is_refused(self, tmp_path):
        with pytest.raises(Exception, match=r"no other host name than 127\.0\.0\.2"):
            other_name(central_with(Settings(tmp_path, "127.0.0.1"), "127.0.0.2", None))


def central_with(settings, mqtt_host, moved_to):
    """Return as much of a central as `other_name` uses."""
    faults = Faults()
    faults.moved_to = moved_to
    return SimpleNamespace(settings=settings, mqtt_host=mqtt_host, faults=faults)

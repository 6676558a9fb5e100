"""Any bytes on the running daemon's control socket are answered, or end only their connection."""

import asyncio
import json
import socket
import threading
from contextlib import nullcontext

import pytest
from fakes import until
from fuzzing import fuzz
from hypothesis import strategies as st

from agent.config.loader import default, with_fake_hardware
from agent.daemon.control_socket import LONGEST_LINE, SOCKET_NAME, ask
from agent.daemon.service import Places, Service
from agent.diagnostics.finding import ok
from agent.diagnostics.runner import chosen
from agent.readings.sink import PrintingSink
from agent.status import status_from_json
from hw import Reading


class QuickService(Service):
    """The daemon, without the two requests that wait for hardware or network."""

    async def read(self):
        return Reading(21.5, 45.0), "2026-11-25T21:00:00.000Z"

    async def check(self, only=(), skip=()):
        return await self.status(), [(name, ok("Fine.")) for name in chosen(only, skip)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Run a daemon in a thread, and return the path of its socket."""
    place = tmp_path_factory.mktemp("daemon")
    started, stop = threading.Event(), []

    async def run():
        shown: list[str] = []
        service = QuickService(
            with_fake_hardware(default(host_name="laptop")),
            places=Places(state=place, runtime=place),
            open_sink=lambda service: nullcontext(
                PrintingSink(shown.append, service.status_changed)
            ),
        )
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(service.stop.set))
        running = asyncio.create_task(service.run())
        await until(lambda: shown or running.done())
        started.set()
        await running

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(30)
    yield place / SOCKET_NAME
    stop[0]()
    thread.join(30)
    assert not thread.is_alive()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
json_values = (
    scalars
    | st.lists(scalars, max_size=2)
    | st.dictionaries(st.text(max_size=5), scalars, max_size=2)
)
KEYS = {
    "command": st.sampled_from(["status", "check", "read", "led", "room", "config", "move"]),
    "do": st.sampled_from(["on", "off", "blink", "brightness", "apply", "undo"]),
    "seconds": st.integers(0, 4000),
    "level": st.integers(0, 4),
    "only": st.lists(st.sampled_from(["led", "hub", "clock"]), max_size=2),
    "skip": st.lists(st.sampled_from(["led", "hub", "clock"]), max_size=2),
    "set": st.dictionaries(
        st.sampled_from(["temperature", "humidity", "fault", "probability"]),
        json_values | st.floats(0, 1),
        max_size=3,
    ),
}
requests = st.fixed_dictionaries(
    {"command": KEYS["command"] | json_values},
    optional={key: values | json_values for key, values in KEYS.items() if key != "command"},
)
lines = requests.map(lambda request: json.dumps(request).encode()) | st.binary(max_size=60)
cut_lines = st.tuples(lines, st.integers(0, 40)).map(lambda pair: pair[0][: -pair[1] or None])


def exchange(path, sent):
    """Send bytes and the end of the input. Return the lines of the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            return stream.read().splitlines()


@fuzz(st.lists(lines | cut_lines, max_size=3))
def test_every_line_is_answered_with_one_object(path, sent):
    answers = exchange(path, b"\n".join(sent))
    # The last line needs no end.
    *whole, last = b"\n".join(sent).split(b"\n")
    assert len(answers) == len(whole) + bool(last)
    for line in answers:
        answer = json.loads(line)
        assert answer["ok"] is True or answer["error"].rstrip().endswith("."), answer
        assert len(line) < LONGEST_LINE
        assert "failed:" not in answer.get("error", "")  # What a bug of ours would say.


def test_the_daemon_still_answers_after_that(path):
    status = status_from_json(ask(path, {"command": "status"})["status"])
    assert status.device_id == "laptop"

import asyncio
import errno
import json
import logging
import os
import socket
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest
from fakes import until

from agent.daemon import control_socket as control
from agent.daemon.control_socket import LONGEST_LINE, ask, control_socket
from agent.diagnostics import service_advice
from agent.errors import ConfigError, ControlError, NoDaemonError


async def echo(request):
    if request.get("fail") == "refuse":
        raise ControlError("That cannot be done.")
    if request.get("fail") == "mistakes":
        raise ConfigError("x.toml: one.", "x.toml: two.")
    if request.get("fail") == "crash":
        raise KeyError("bug")
    return {"echo": request.get("say")}


@pytest.fixture
async def path(tmp_path):
    path = tmp_path / "run" / "control.sock"
    async with control_socket(path, {"echo": echo}):
        yield path


async def talk(path, line):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return json.loads(answer)


async def test_a_request_is_answered(path):
    answer = await asyncio.to_thread(ask, path, {"command": "echo", "say": "hello"})
    assert answer == {"ok": True, "echo": "hello"}


async def test_a_connection_carries_several_requests(path):
    reader, writer = await asyncio.open_unix_connection(path)
    for number in range(3):
        writer.write(json.dumps({"command": "echo", "say": number}).encode() + b"\n")
        assert json.loads(await reader.readline())["echo"] == number
    writer.close()
    await writer.wait_closed()


async def test_ask_raises_the_reason_of_a_refusal(path):
    with pytest.raises(ControlError, match="That cannot be done"):
        await asyncio.to_thread(ask, path, {"command": "echo", "fail": "refuse"})


async def test_ask_raises_the_mistakes_of_a_configuration(path):
    with pytest.raises(ConfigError) as raised:
        await asyncio.to_thread(ask, path, {"command": "echo", "fail": "mistakes"})
    assert raised.value.mistakes == ("x.toml: one.", "x.toml: two.")


async def test_a_bug_in_a_handler_is_logged_and_answered(path, caplog):
    answer = await talk(path, b'{"command": "echo", "fail": "crash"}\n')
    assert not answer["ok"]
    assert "The request echo failed" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b"{}\n",
        b'{"command": []}\n',
        b"[" * 60_000 + b"\n",
        b"\xff\n",
    ],
)
async def test_a_malformed_request_is_refused_with_a_sentence(path, line):
    answer = await talk(path, line)
    assert answer["ok"] is False
    assert answer["error"].endswith(".")


async def test_a_request_that_is_too_long_is_refused(path):
    answer = await talk(path, b"x" * (LONGEST_LINE * 2))
    assert answer == {
        "ok": False,
        "error": f"A request must not be longer than {LONGEST_LINE} bytes.",
    }


async def test_a_silent_client_is_disconnected(path, monkeypatch):
    monkeypatch.setattr(control, "PATIENCE", 0.01)
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.read() == b""
    writer.close()


@pytest.fixture
async def clients(path):
    """Return a function that connects another client."""
    opened = []

    async def connect(request=b""):
        reader, writer = await asyncio.open_unix_connection(path)
        opened.append(writer)
        writer.write(request)
        return reader, writer

    yield connect
    for writer in opened:
        writer.transport.abort()


SAY = b'{"command": "echo", "say": 1}\n'


@pytest.mark.parametrize("beginning", [b"", b'{"command":'], ids=["silent", "half a request"])
async def test_the_client_that_is_silent_for_longest_gives_its_place(path, clients, beginning):
    silent = [await clients(beginning) for _ in range(control.MOST_CLIENTS)]
    reader, writer = silent.pop(0)
    writer.write(beginning and b'"echo"}\n')
    writer.write(b"" if beginning else SAY)
    assert await reader.readline()
    for _ in range(3):
        assert (await talk(path, SAY))["ok"]
    for _ in range(3):
        newer, _ = await clients(SAY)
        assert await newer.readline()
    assert [reader.at_eof() for reader, _ in silent].count(True) == 3
    assert [await reader.read() for reader, _ in silent[:3]] == [b""] * 3
    writer.write(SAY)  # It was silent later than those.
    assert await reader.readline()


async def test_clients_that_do_not_read_their_answers_keep_nobody_out(path, clients):
    for _ in range(control.MOST_CLIENTS):
        await clients(b'{"command": "echo", "say": "%s"}\n' % (b"x" * 5000) * 1000)
    assert (await talk(path, SAY))["ok"]


async def test_a_client_is_refused_while_all_others_have_requests_under_way(tmp_path):
    path, release = tmp_path / "control.sock", asyncio.Event()
    started = []

    async def wait(_request):
        started.append(1)
        await release.wait()
        return {}

    async with control_socket(path, {"wait": wait, "echo": echo}):
        waiting = [
            asyncio.create_task(talk(path, b'{"command": "wait"}\n'))
            for _ in range(control.MOST_CLIENTS)
        ]
        await until(lambda: len(started) == control.MOST_CLIENTS)
        with pytest.raises(ControlError, match="The control socket is busy"):
            await asyncio.to_thread(ask, path, {"command": "echo"})
        release.set()
        assert all(answer["ok"] for answer in await asyncio.gather(*waiting))
        assert (await talk(path, SAY))["ok"]


async def test_a_stop_does_not_wait_for_a_request(tmp_path):
    path, started = tmp_path / "control.sock", asyncio.Event()

    async def wait(_request):
        started.set()
        await asyncio.Event().wait()

    async with control_socket(path, {"wait": wait}):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"command": "wait"}\n')
        await started.wait()
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_exhausted_descriptors_are_logged_once_and_survived(
    tmp_path, monkeypatch, caplog, number
):
    monkeypatch.setattr(control, "ACCEPT_PAUSE", 0.0)
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, iter(range(500))

    async def fail(listener):
        if next(failures, None) is not None:
            raise OSError(number, os.strerror(number))
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", fail)
    async with control_socket(tmp_path / "control.sock", {"echo": echo}):
        assert (await talk(tmp_path / "control.sock", SAY))["ok"]
    (warning,) = [line for line in caplog.records if line.levelno >= logging.WARNING]
    assert f"cannot accept a client: {os.strerror(number)}." in warning.getMessage()


async def test_a_removed_socket_is_recreated(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "LOOK_EVERY", 0.001)
    path = tmp_path / "state" / "control.sock"
    async with control_socket(path, {"echo": echo}):
        path.unlink()
        path.parent.rmdir()
        await until(path.exists)
        assert (await talk(path, SAY))["ok"]


async def test_a_request_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(control, "PATIENCE", 0.0)

    async def hang(_request):
        await asyncio.Event().wait()

    answer = await control._answer(b'{"command": "hang"}', {"hang": hang})
    assert answer == {"ok": False, "error": "hang did not finish within 0 s."}


async def test_only_user_and_group_can_use_the_socket(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def test_the_socket_is_removed_at_the_end(tmp_path):
    path = tmp_path / "control.sock"
    async with control_socket(path, {}):
        assert path.exists()
    assert not path.exists()
    with pytest.raises(NoDaemonError, match="No daemon answers") as caught:
        ask(path, {"command": "echo"})
    assert caught.value.advice == service_advice.how_to_start()


def test_a_socket_of_another_group_is_reported_with_the_group_and_the_remedy(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(service_advice, "group_of", lambda _path: "sensor-agent")
    monkeypatch.setattr(service_advice, "how_to_join", lambda group: f"Join {group}.")
    with pytest.raises(ControlError) as caught:
        ask(tmp_path / "control.sock", {"command": "echo"})
    assert caught.value.sentence == (
        f"Permission denied: {tmp_path}/control.sock belongs to the group sensor-agent."
    )
    assert caught.value.advice == "Join sensor-agent."


async def test_a_socket_that_cannot_be_removed_is_left_without_an_error(tmp_path, monkeypatch):
    refusing = Mock(side_effect=OSError(errno.EROFS, "Read-only file system"))
    async with control_socket(tmp_path / "control.sock", {}):
        monkeypatch.setattr(Path, "unlink", refusing)
    refusing.assert_called_once()


async def test_a_socket_left_by_a_crash_is_replaced(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with control_socket(path, {"echo": echo}):
        assert (await talk(path, b'{"command": "echo"}\n'))["ok"]


async def test_a_socket_in_use_is_not_replaced(path):
    with pytest.raises(ControlError, match="Another sensor-agent answers"):
        async with control_socket(path, {}):
            pass
    assert (await talk(path, b'{"command": "echo"}\n'))["ok"]


async def test_without_a_socket_a_warning_is_logged_and_the_block_runs(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    async with control_socket(tmp_path / "file" / "control.sock", {}):
        assert "/control.sock: File exists" in caplog.text


async def test_a_socket_that_could_not_be_created_is_created_later(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(control, "LOOK_EVERY", 0.001)
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "control.sock"
    async with control_socket(path, {"echo": echo}):
        await asyncio.sleep(0.01)
        (tmp_path / "file").unlink()
        await until(path.exists)
        assert (await talk(path, SAY))["ok"]
    assert caplog.text.count("Cannot create the control socket") == 1

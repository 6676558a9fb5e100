"""`sensor-agent move undo` while no daemon runs: the next one finds the move undone."""

import asyncio
from dataclasses import replace

import pytest

from agent.cli.move import undo
from agent.cloud.move import Moves
from agent.config.loader import CloudConfig, default
from agent.errors import AgentError, ControlError
from agent.readings.clock import Clock
from agent.storage.machine_id import board_id
from agent.storage.settings import SETTINGS_NAME, Settings

OLD, NEW = "0ne000000AA", "0ne000000BB"
CLOUD = CloudConfig(id_scope=OLD)
CONFIG = replace(default(), cloud=CLOUD)
REGISTRATION = (CLOUD.provisioning_host, OLD, CONFIG.device.id)


async def in_settings(state, work):
    settings = await Settings.open(state, board=board_id())
    moves = Moves(settings, REGISTRATION, allowed=True, clock=Clock())
    await moves.load()
    try:
        await work(moves)
    finally:
        await settings.close()
    return moves.id_scope


async def moved(moves):
    await moves.device_move({"idScope": NEW})
    await moves.worked(NEW)


async def nothing(_moves):
    pass


def undo_in(state, config=CONFIG):
    return undo(config, socket_path=state / "none.sock", state=state)


def test_a_stopped_daemon_is_moved_back(tmp_path, capsys):
    assert asyncio.run(in_settings(tmp_path, moved)) == NEW
    assert undo_in(tmp_path) == 0
    assert f"belongs to ID scope {OLD} again. It connects there when it starts" in (
        capsys.readouterr().out
    )
    assert asyncio.run(in_settings(tmp_path, nothing)) == OLD
    owner = tmp_path.stat()
    file = (tmp_path / SETTINGS_NAME).stat()
    assert (file.st_uid, file.st_gid) == (owner.st_uid, owner.st_gid)


def test_without_a_move_there_is_nothing_to_undo(tmp_path):
    with pytest.raises(ControlError, match="no move to undo"):
        undo_in(tmp_path)
    with pytest.raises(ControlError, match=r"no \[cloud\] section"):
        undo_in(tmp_path, default())


def test_settings_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / SETTINGS_NAME).mkdir()
    with pytest.raises(AgentError, match=rf"Cannot read .*{SETTINGS_NAME}: Is a directory"):
        undo_in(tmp_path)

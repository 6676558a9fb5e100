"""`sensor-agent move undo`: undo a move to another ID scope, with or without a running daemon."""

import asyncio
import os
from pathlib import Path

from agent.cloud.move import SETTING, Moves
from agent.config.loader import Config
from agent.daemon.control_socket import ask
from agent.errors import AgentError, ControlError, NoDaemonError, in_words
from agent.readings.clock import Clock
from agent.storage.machine_id import board_id
from agent.storage.settings import SETTINGS_NAME, Settings

DONE = 0


def undo(config: Config, *, socket_path: Path, state: Path) -> int:
    """Undo the last move, and print where the device belongs. Raises AgentError."""
    try:
        answer = ask(socket_path, {"command": "move", "do": "undo"})
    except NoDaemonError:
        id_scope = asyncio.run(_undo_here(config, state))
        when = "It connects there when it starts."
    else:
        id_scope, when = answer["id_scope"], "The daemon connects there now."
    print(f"The move is undone: this device belongs to ID scope {id_scope} again. {when}")
    return DONE


async def _undo_here(config: Config, state: Path) -> str | None:
    """Undo the move in the state directory, as no daemon uses it."""
    if config.cloud is None:
        raise ControlError("There is no move to undo: the configuration has no [cloud] section.")
    file = state / SETTINGS_NAME
    try:
        file.read_bytes()
    except FileNotFoundError:  # Opening the settings would create files that root owns.
        raise ControlError("There is no move to undo: this device was never moved.") from None
    except OSError as error:
        raise AgentError(f"Cannot read {file}: {in_words(error)}. Use sudo.") from error
    registration = (config.cloud.provisioning_host, config.cloud.id_scope, config.device.id)
    settings = await Settings.open(state, board=board_id())
    try:
        moves = Moves(settings, registration, allowed=True, clock=Clock())
        await moves.load()
        place = await moves.undo()
        if not settings.is_saved(SETTING):
            raise AgentError(f"Cannot write {file}. Use sudo, or check the disk.")
    finally:
        await settings.close()
    _give_back(file)
    return place.id_scope


def _give_back(file: Path) -> None:
    """Give a file that root has written to the owner of its directory: the service's user."""
    if os.geteuid() == 0:
        owner = file.parent.stat()
        os.chown(file, owner.st_uid, owner.st_gid)

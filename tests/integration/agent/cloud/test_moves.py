"""A daemon that is moved to another ID scope, by its operator and by a person at the machine."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from centrals import running_central
from daemons import Daemon, agent, places, until
from optional import several_loopbacks

from agent.cloud.move import COMMAND
from central.records import Command
from central.storage import devices
from central.storage.completeness import completeness
from central.transport.certificates import issue_device_certificate

pytestmark = [several_loopbacks, pytest.mark.timeout(300)]


@pytest.fixture
def central(tmp_path):
    with running_central(tmp_path / "central", id_scopes=2) as central:
        yield central


def order(central, request, *, device_id="pi-1") -> Command:
    async def call(running):
        return await running.hub.call(device_id, COMMAND, request, connect_timeout=20)

    answered: Command = central.call(call)
    return answered


def is_at(daemon, hub):
    status = daemon.status_if_any()
    return status is not None and status["cloud"]["hub"] == hub


def check(daemon):
    return agent(
        *("check", "--only", "registration", "--verbose"),
        *("--config", daemon.home / "config.toml"),
        env=places(daemon.home),
    )


def undo(daemon):
    done = agent("move", "undo", "--config", daemon.home / "config.toml", env=places(daemon.home))
    assert done.returncode == 0, done.stderr
    return done.stdout


def move_there_and_back(central, daemon):
    """Move a daemon, undo it while it is stopped; move it again, and undo it while it runs."""
    (old, old_hub), (new, new_hub) = central.info["id_scopes"].items()
    with daemon:
        until(lambda: is_at(daemon, old_hub), what=daemon.tail)
        assert order(central, {"idScope": new}).status == 200
        until(lambda: is_at(daemon, new_hub), what=daemon.tail)
        assert central.read(devices.get, "pi-1").id_scope == new
        text = agent(
            "status", "--config", daemon.home / "config.toml", env=places(daemon.home)
        ).stdout
        moved = f"place: ID scope {new}, hub {new_hub}; since TIME, by DeviceMove from {old_hub}\n"
        assert re.search(re.escape(moved).replace("TIME", r"[-\d: ]+ \S+"), text), text
        daemon.kill()
        found = check(daemon)
        assert f"assigned pi-1 to {new_hub}" in found.stdout
        assert f"was moved to ID scope {new}, which is in force" in found.stdout
        assert f"belongs to ID scope {old} again. It connects there when it" in undo(daemon)
        daemon.start()
        until(lambda: is_at(daemon, old_hub), what=daemon.tail)
        assert order(central, {"idScope": new}).status == 200
        until(lambda: is_at(daemon, new_hub), what=daemon.tail)
        assert f"belongs to ID scope {old} again. The daemon connects there now" in undo(daemon)
        until(lambda: is_at(daemon, old_hub), what=daemon.tail)
        until(lambda: reported(central, "moveStatus").startswith("The move to ID"))
        until(lambda: reported(central, "state"))
        until(lambda: is_whole(central), what=daemon.tail)


def is_whole(central):
    """Return whether no reading is missing over both ID scopes."""
    found = central.read(completeness, "pi-1")
    return not found.lost and not found.start_unknown


def reported(central, name):
    return central.read(devices.get_twin, "pi-1").reported[name]


def test_with_a_key(central, tmp_path):
    move_there_and_back(central, Daemon(tmp_path / "pi", central))


def test_with_a_certificate(central, tmp_path):
    data = Path(central.info["ca_file"]).parent
    certificate, key = issue_device_certificate(data, "pi-1", datetime.now(UTC))
    daemon = Daemon(
        tmp_path / "pi",
        central,
        group_key_file=None,
        x509_cert_file=str(certificate),
        x509_key_file=str(key),
    )
    move_there_and_back(central, daemon)


def test_an_edited_id_scope_in_the_file_wins(central, tmp_path):
    (_, old_hub), (new, new_hub) = central.info["id_scopes"].items()
    daemon = Daemon(tmp_path / "pi", central)
    with daemon:
        until(lambda: is_at(daemon, old_hub), what=daemon.tail)
        order(central, {"idScope": new})
        until(lambda: is_at(daemon, new_hub), what=daemon.tail)
    edited = Daemon(daemon.home, central, id_scope=new)
    with edited:
        until(lambda: is_at(edited, new_hub), what=edited.tail)
        place = edited.status()["cloud"]["place"]
        assert (place["id_scope"], place["status"], place["by"]) == (new, "none", None)
        assert f"Forgot the move to ID scope {new}" in edited.log


def test_an_operator_may_be_forbidden_to_move_a_device(central, tmp_path):
    new = list(central.info["id_scopes"])[1]
    daemon = Daemon(tmp_path / "pi", central)
    file = daemon.home / "config.toml"
    file.write_text(file.read_text().replace("[cloud]\n", "[cloud]\nallow_move = false\n"))
    with daemon:
        daemon.until_connected()
        answer = order(central, {"idScope": new})
        assert answer.status == 403
        assert "allow_move = false" in str(answer.response)


def test_an_id_scope_that_does_not_exist_is_left_by_hand(central, tmp_path):
    old_hub = next(iter(central.info["id_scopes"].values()))
    daemon = Daemon(tmp_path / "pi", central)
    with daemon:
        until(lambda: is_at(daemon, old_hub), what=daemon.tail)
        order(central, {"idScope": "0ne00000000"})
        until(lambda: not is_at(daemon, old_hub), what=daemon.tail)
        until(lambda: daemon.status()["cloud"]["place"]["moving_to"] == "0ne00000000")
        undo(daemon)
        until(lambda: is_at(daemon, old_hub), what=daemon.tail)


def test_a_move_to_an_id_scope_that_does_not_exist_is_undone_at_once(central, tmp_path):
    old_hub = next(iter(central.info["id_scopes"].values()))
    daemon = Daemon(tmp_path / "pi", central)
    with daemon:
        until(lambda: is_at(daemon, old_hub), what=daemon.tail)
        order(central, {"idScope": "0ne00000000"})
        until(lambda: "Undid the move" in daemon.log, what=daemon.tail, patience=90.0)
        until(lambda: is_at(daemon, old_hub), what=daemon.tail)
        why = daemon.status()["cloud"]["place"]["status"]
    assert "The move to ID scope 0ne00000000 was undone: " in why
    assert "Most likely the ID scope does not exist" in why

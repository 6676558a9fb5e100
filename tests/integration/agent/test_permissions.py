"""Files and sockets without permission, also when root runs the tests."""

import socket
import subprocess
import sys

from daemons import agent
from ordinary import AS_ORDINARY_USER, OBEYING_MODES
from places import ROOT


def test_an_outbox_without_read_permission_is_skipped(ordinary_place):
    outbox = ordinary_place / "outbox"
    outbox.mkdir()
    outbox.chmod(0)
    script = (
        "import sys; from pathlib import Path; from agent.diagnostics.checks import storage;"
        "print(storage.outbox_here(Path(sys.argv[1])).outcome)"
    )
    done = subprocess.run(
        [*OBEYING_MODES, sys.executable, "-c", script, str(ordinary_place)],
        env={"PYTHONPATH": str(ROOT)},
        cwd=ordinary_place, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    outbox.chmod(0o700)  # An ordinary user could not remove it.
    assert done.stdout.strip() == "skipped"


def test_a_user_without_access_to_the_socket_gets_advice(ordinary_place):
    path = ordinary_place / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0)
        listener.listen()
        environ = {"PYTHONPATH": str(ROOT), "RUNTIME_DIRECTORY": str(ordinary_place)}
        asked = agent("status", program=AS_ORDINARY_USER, env=environ, cwd=ordinary_place)
    assert asked.returncode == 1
    assert asked.stderr.startswith("Permission denied: ")
    assert "Use sudo" in asked.stderr


def test_a_key_of_another_user_is_status_78(ordinary_place):
    (ordinary_place / "key").write_text("a2V5\n")
    (ordinary_place / "key").chmod(0)
    config = ordinary_place / "config.toml"
    config.write_text(
        '[device]\nid = "pi-1"\n[cloud]\nid_scope = "0ne00000000"\nkey_file = "key"\n'
    )
    environ = {"PYTHONPATH": str(ROOT), "STATE_DIRECTORY": str(ordinary_place)}
    arguments = ("run", "--fake-hw", "--config", config)
    ended = agent(*arguments, program=AS_ORDINARY_USER, env=environ, cwd=ordinary_place)
    assert ended.returncode == 78
    assert f"{ordinary_place}/key cannot be read: Permission denied." in ended.stderr

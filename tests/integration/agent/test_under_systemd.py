"""The daemon in a process, under a fake systemd."""

import resource
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from addresses import own_address
from optional import environment_with_packages, python_with_systemd
from places import ROOT

from agent.daemon.control_socket import SOCKET_NAME, ask

PATIENCE = 60.0


class Manager:
    """A fake systemd that receives the daemon's notices."""

    def __init__(self, home):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(home / "notify"))
        self.socket.settimeout(PATIENCE)
        self.home = home
        self.process = None

    def hear(self):
        """Return the next notice."""
        lines = self.socket.recv(10_000).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def hear_until(self, wanted):
        said = [self.hear()]
        while wanted not in said[-1]:
            said.append(self.hear())
        return said

    def start(self, text, **environ):
        config = self.home / "config.toml"
        config.write_text(text)
        self.process = subprocess.Popen(
            [python_with_systemd(), "-m", "agent", "run", "--config", str(config)],
            env=environment_with_packages(
                NOTIFY_SOCKET=str(self.home / "notify"),
                STATE_DIRECTORY=str(self.home / "state"),
                RUNTIME_DIRECTORY=str(self.home / "run"),
            )
            | environ,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self):
        """Wait for the daemon's end, and return its exit status and log."""
        assert self.process is not None
        _, log = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, log


@contextmanager
def manager(home):
    systemd = Manager(home)
    try:
        yield systemd
    finally:
        systemd.socket.close()
        if systemd.process is not None and systemd.process.poll() is None:
            systemd.process.kill()
            systemd.process.communicate()


FAKE = '[sensor]\ndriver = "fake"\ninterval = 0.05\n[led]\ndriver = "fake"\n'
# Nothing listens on this address, as on a Pi without a network.
NO_NETWORK = (
    f'[device]\nid = "pi-1"\n[cloud]\nid_scope = "0ne0"\nprovisioning_host = "{own_address()}"\n'
    'key_file = "key"\n' + FAKE
)


def test_without_a_network_the_daemon_is_ready_and_sends_its_status(tmp_path):
    key = tmp_path / "key"
    key.write_text("c2VjcmV0")
    key.chmod(0o600)
    with manager(tmp_path) as systemd:
        systemd.start(NO_NETWORK, WATCHDOG_USEC="600000")
        ready = systemd.hear()
        assert ready["READY"] == "1"
        for _ in range(3):
            said = systemd.hear_until("WATCHDOG")[-1]
        assert "°C" in said["STATUS"]
        assert "; not connected; " in said["STATUS"]
        systemd.process.send_signal(signal.SIGTERM)
        assert systemd.hear_until("STOPPING")[-1]["STATUS"] == "Stopping"
        assert systemd.end()[0] == 0


def test_the_status_line_follows_a_failing_sensor(tmp_path):
    with manager(tmp_path) as systemd:
        systemd.start(FAKE)
        assert "°C" in systemd.hear()["STATUS"]
        ask(tmp_path / "run" / SOCKET_NAME, {"command": "room", "set": {"fault": "no_answer"}})
        systemd.socket.settimeout(15.0)  # Without a change the next notice comes after 20 s.
        while "(no_answer)" not in systemd.hear()["STATUS"]:
            pass


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[sensor]\npin = 99\nintervall = 5\n", "pin = 99"),
        ('[sensor]\ndriver = "dht22"\n', "no [cloud] section"),
        (NO_NETWORK, "key does not exist"),
    ],
)
def test_the_status_line_has_the_reason_why_the_daemon_cannot_run(tmp_path, text, reason):
    with manager(tmp_path) as systemd:
        systemd.start(text)
        assert reason in systemd.hear()["STATUS"]
        status, log = systemd.end()
    assert status == 78
    assert reason in log


def test_the_status_line_is_shortened_if_there_are_many_mistakes(tmp_path):
    with manager(tmp_path) as systemd:
        systemd.start("".join(f"mistake_{number} = 1\n" for number in range(100)))
        status = systemd.hear()["STATUS"]
        systemd.end()
    assert "mistake_0 = ...: is before" in status
    assert status.endswith("The journal lists all 100 reasons.")


def test_an_aborted_daemon_logs_where_it_was(tmp_path):
    with manager(tmp_path) as systemd:
        systemd.start(FAKE)
        systemd.hear_until("READY")
        systemd.process.send_signal(signal.SIGABRT)  # As systemd's watchdog does.
        status, log = systemd.end()
    assert status == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in log
    assert "run_until_complete" in log


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux can change the limits of another process"
)
def test_notices_continue_while_file_descriptors_are_exhausted(tmp_path):
    with manager(tmp_path) as systemd:
        systemd.start(FAKE, WATCHDOG_USEC="600000")
        systemd.hear_until("READY")
        systemd.hear_until("WATCHDOG")
        pid = systemd.process.pid
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, hard))
        with ExitStack() as clients:
            for _ in range(3):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(tmp_path / "run" / SOCKET_NAME))
            for _ in range(10):
                systemd.hear_until("WATCHDOG")
        systemd.process.send_signal(signal.SIGTERM)
        assert systemd.end()[0] == 0


def test_central_is_ready_when_its_file_says_where_it_listens(tmp_path):
    data = tmp_path / "central"
    with manager(tmp_path) as systemd:
        systemd.process = subprocess.Popen(
            [python_with_systemd(), "-m", "agent", "central", "--data", data, "--http-port", "0"],
            env=environment_with_packages(NOTIFY_SOCKET=str(tmp_path / "notify")),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert systemd.hear() == {"READY": "1"}
        assert (data / "central.json").exists()
        systemd.process.send_signal(signal.SIGTERM)
        assert systemd.end()[0] == 0

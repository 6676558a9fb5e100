"""`sensor-agent setup --dry-run` of an ordinary user at a pseudo-terminal."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from ordinary import AS_ORDINARY_USER
from places import ROOT

SECRET = "c2VjcmV0"
CONNECTION = f"HostName=contoso.azure-devices.net;DeviceId=shed_1.a;SharedAccessKey={SECRET}"
QUESTION = "or ID scope (not shown while you type): "
DEADLINE = 30.0

pytestmark = [
    pytest.mark.usefixtures("default_signals"),
    pytest.mark.skipif(
        Path("/etc/sensor-agent").exists(), reason="this machine has a service of its own"
    ),
]


class Person:
    """A person at the terminal in which the command runs."""

    def __init__(self, home, *options):
        self.screen = ""
        self._ours, self.terminal = pty.openpty()
        self.process = subprocess.Popen(
            [*AS_ORDINARY_USER, "setup", "--dry-run", *options],
            cwd=ROOT,
            env=os.environ | {"HOME": str(home)},
            stdin=self.terminal,
            stdout=self.terminal,
            stderr=self.terminal,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - no threads matter.
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(DEADLINE)
        os.close(self._ours)
        os.close(self.terminal)

    @property
    def echoes(self):
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)

    def sees(self, text, times=1):
        """Wait until the screen shows `text` this many times."""
        until = time.monotonic() + DEADLINE
        while self.screen.count(text) < times:
            assert select.select([self._ours], [], [], until - time.monotonic())[0], self.screen
            self.screen += os.read(self._ours, 4096).decode(errors="replace")

    def types(self, text):
        os.write(self._ours, text.encode())


def _take_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # So that Ctrl-C reaches the command.


@pytest.fixture
def person(tmp_path):
    with Person(tmp_path, "--fake-hw") as person:
        yield person


def test_the_echo_is_off_before_the_prompt_of_a_secret(person):
    person.sees(QUESTION)
    assert not person.echoes
    person.types("no scope!\n")
    person.sees(QUESTION, times=2)
    assert "must be letters" in person.screen
    assert not person.echoes


def test_a_pasted_secret_is_not_shown_and_a_dry_run_changes_nothing(person):
    person.sees(QUESTION)
    person.types(f"{CONNECTION}\n")
    person.sees("Nothing was changed.")
    assert person.process.wait(DEADLINE) == 0
    assert person.echoes
    assert "Device id: shed_1.a" in person.screen
    assert "Writing /etc/sensor-agent/credentials/device.connection" in person.screen
    assert SECRET not in person.screen


def test_ctrl_c_at_a_secret_restores_the_terminal(person):
    person.sees(QUESTION)
    person.types("\x03")
    assert person.process.wait(DEADLINE) == 1
    assert person.echoes
    person.sees("Nothing was changed.")
    assert "Traceback" not in person.screen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_a_secret_restores_the_terminal(person, number):
    person.sees(QUESTION)
    person.process.send_signal(number)
    assert person.process.wait(DEADLINE) == 1
    assert person.echoes


def test_the_answers_of_an_interrupted_setup_are_repeated(person):
    person.sees(QUESTION)
    person.types("0ne1\n")
    person.sees("(c)? [d]: ")
    assert person.echoes
    person.types("g\n")
    person.sees("Key (not shown while you type): ")
    assert not person.echoes
    person.types("\x03")
    person.sees("sudo sensor-agent setup --id-scope 0ne1 --fake-hw")
    assert person.process.wait(DEADLINE) == 1


@pytest.mark.parametrize("option", ["--key", "--group-key", "--connection-string"])
@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
def test_a_secret_as_an_option_is_refused_and_not_repeated(option, form):
    done = subprocess.run(
        [*AS_ORDINARY_USER, "setup", *form.format(option, SECRET).split(" ")],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"{option} is not an option: other users could see it. Write it to" in done.stderr
    assert f"give that with {option}-file." in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("options", [["--help"], ["--dry-run", "--fake-hw"]])
def test_help_and_a_dry_run_need_no_root_and_no_terminal(tmp_path, options):
    done = subprocess.run(
        [*AS_ORDINARY_USER, "setup", *options],
        cwd=ROOT, env=os.environ | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []

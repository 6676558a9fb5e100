"""`read --watch` in a real terminal: what it draws, and what it leaves behind."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager

import pytest

AGENT = [sys.executable, "-m", "agent"]
CONFIG = '[sensor]\ndriver = "fake"\ninterval = 0.2\n[led]\ndriver = "fake"\n'
PATIENCE = 60.0  # Seconds.
ON, OFF = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"


class Terminal:
    """A terminal of 60 columns and 16 lines in which a command runs."""

    def __init__(self, command, **environ):
        self.master, slave = pty.openpty()
        self.resize(60, 16)
        settings = {"TERM": "xterm", "NO_COLOR": "", "LC_ALL": "C.UTF-8", "TZ": "UTC0"}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | settings | environ,
            start_new_session=True,
        )
        os.close(slave)
        self.output = b""

    def resize(self, columns, lines):
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def until(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.output[-2000:]
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.output += os.read(self.master, 65536)
                except OSError:  # The command has closed the terminal, and is about to end.
                    time.sleep(0.05)  # Reading fails at once until it has.

    @property
    def pictures(self):
        """The whole pictures so far, without escape sequences."""
        whole = [part for part in self.output.split(b"\x1b[H")[1:] if b"\x1b[J" in part]
        plain = [re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", part) for part in whole]
        return [part.decode().split("\r\n") for part in plain]

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        self.until(lambda: self.process.poll() is not None and OFF in self.output)
        return self.output.partition(OFF)[2].decode()


@pytest.fixture
def config(tmp_path, ordinary_place, monkeypatch):
    monkeypatch.setenv("HOME", str(ordinary_place))  # Short enough for the path of a socket.
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return str(path)


@contextmanager
def watching(config, **environ):
    terminal = Terminal([*AGENT, "read", "--watch", "--config", config], **environ)
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)


def test_the_sensor_is_drawn_until_ctrl_c_which_leaves_the_terminal_as_it_was(config):
    with watching(config) as terminal:
        terminal.until(lambda: len(terminal.pictures) >= 2)
        first = terminal.pictures[0]
        assert first[0].startswith("fake on this machine")
        assert all(len(line) <= 60 for line in first)
        assert len(first) <= 16
        assert any("█" in line or "▄" in line for line in first)
        terminal.resize(30, 8)
        terminal.until(lambda: len(terminal.pictures[-1]) <= 8)
        assert all(len(line) <= 30 for line in terminal.pictures[-1])
        after = terminal.interrupt()
    assert terminal.process.returncode == 0
    assert terminal.output.count(ON) == 1
    assert re.fullmatch(r"2\S+ [0-9:]+ UTC +-?[0-9.]+ °C +[0-9.]+ %\r\n", after)


def test_a_locale_without_the_characters_gets_ascii(config):
    settings = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1"}
    with watching(config, **settings) as terminal:
        terminal.until(lambda: terminal.pictures)
        terminal.interrupt()
    assert terminal.output.isascii()
    assert b"deg C" in terminal.output
    assert b"\x1b[1m" not in terminal.output


def test_a_running_daemon_is_not_disturbed_by_a_second_reader(config):
    with subprocess.Popen(
        [*AGENT, "run", "--config", config], stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        for _ in range(3):
            daemon.stdout.readline()
        with watching(config) as terminal:
            terminal.until(lambda: len(terminal.pictures) >= 2)
            assert "read by the daemon" in terminal.pictures[-1][0]
            terminal.interrupt()
            assert terminal.process.returncode == 0
            with watching(config) as other:
                other.until(lambda: other.pictures)
                daemon.send_signal(signal.SIGTERM)
                other.until(lambda: other.process.poll() is not None)
                assert other.process.returncode == 1
                assert other.output.count(OFF) == 1
        daemon.stdout.close()


def test_a_dumb_terminal_and_a_pipe_get_lines(config):
    with watching(config, TERM="dumb") as terminal:
        terminal.until(lambda: terminal.output.count(b"\n") >= 2)
    assert b"\x1b" not in terminal.output
    with subprocess.Popen(
        [*AGENT, "read", "--watch", "--config", config], stdout=subprocess.PIPE
    ) as piped:
        assert piped.stdout is not None
        lines = [piped.stdout.readline() for _ in range(2)]
        piped.send_signal(signal.SIGINT)
        piped.stdout.read()
    assert all(line.endswith(b"%\n") for line in lines)
    assert piped.returncode == 0


@pytest.mark.parametrize("other", [["--count", "2"], ["--list"]])
def test_a_watch_excludes_the_other_ways_to_read(config, other):
    ended = subprocess.run(
        [*AGENT, "read", "--watch", *other, "--config", config], check=False, capture_output=True
    )
    assert ended.returncode == 2

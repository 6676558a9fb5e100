"""Commands whose output is a closed pipe, a full disk, closed, or a terminal of any kind."""

import json
import os
import subprocess

import pytest
from addresses import own_address
from daemons import AGENT, PATIENCE, agent
from places import ROOT

PRINTING = {
    "help": ["--help"],
    "help of a command": ["central", "--help"],
    "version": ["--version"],
    "model": ["model"],
    "example": ["config", "example"],
    "check": ["check", "--fake-hw", "--only", "sensor,led,packages"],
    "check --json": ["check", "--fake-hw", "--json", "--only", "sensor,led,packages"],
    "read": ["read", "--fake-hw"],
    "read --json": ["read", "--fake-hw", "--json"],
    "read --count": ["read", "--fake-hw", "--json", "--count", "5"],
    "led --json": ["led", "off", "--fake-hw", "--json"],
}
EVERY = pytest.mark.parametrize("arguments", PRINTING.values(), ids=PRINTING)


@pytest.fixture
def environ(tmp_path):
    return os.environ | {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
    }


def run(environ, *arguments, **options):
    return agent(*arguments, env=environ, text=False, **options)


@EVERY
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_a_command_without_a_message(environ, arguments, unbuffered):
    read, write = os.pipe()
    os.close(read)
    done = run(environ | {"PYTHONUNBUFFERED": unbuffered}, *arguments, stdout=write)
    os.close(write)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert b"standard output" not in done.stderr


@pytest.mark.parametrize("arguments", [["read", "--count", "100000", "--json"], ["run"]])
def test_a_reader_that_ends_midway_ends_a_command_without_a_message(environ, tmp_path, arguments):
    config = tmp_path / "config.toml"
    config.write_text('[sensor]\ndriver = "fake"\ninterval = 0.05\n')
    with subprocess.Popen(
        [*AGENT, *arguments, "--fake-hw", "--config", config],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(PATIENCE) == 1
    assert "Traceback" not in said, said
    assert "Exception" not in said
    assert "failed" not in said


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
@EVERY
def test_a_full_disk_is_reported_in_one_sentence(environ, arguments):
    full = os.open("/dev/full", os.O_WRONLY)
    done = run(environ, *arguments, stdout=full)
    os.close(full)
    assert done.returncode == 1
    assert done.stderr == b"Cannot write to standard output: No space left on device.\n"


@EVERY
def test_a_closed_output_is_reported_in_one_sentence(environ, arguments):
    closed = 'exec "$0" "$@" >&-'
    done = run(environ, *arguments, program=["sh", "-c", closed, *AGENT])
    assert done.returncode == 1
    assert done.stderr == b"Cannot write to standard output: it is closed.\n"


@EVERY
def test_standard_error_may_be_closed_or_full(environ, arguments):
    for where in ("2>&-", "2>/dev/full", "<&- 2>&-"):
        done = run(environ, *arguments, program=["sh", "-c", f'exec "$0" "$@" {where}', *AGENT])
        assert done.returncode == 0, where
        assert done.stdout


TERMINALS = {
    "ascii": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    "strict ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp437": {"PYTHONIOENCODING": "cp437"},
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
    "posix": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.fixture
def strange(tmp_path):
    """A configuration whose path is not valid UTF-8, with a device name that is not ASCII."""
    directory = os.fsencode(tmp_path) + b"/caf\xe9-\xf0\x9f\x8c\xa1"
    os.mkdir(directory)  # noqa: PTH102 - of bytes.
    path = directory + b"/config.toml"
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - the same.
        file.write(
            '[device]\nid = "pi-1"\n[cloud]\nid_scope = "0ne00000000"\nkey_file = "schlüssel°"\n'
            '[sensor]\ndriver = "fake"\n[led]\ndriver = "fake"\n'
        )
    return path


@pytest.mark.parametrize("terminal", TERMINALS.values(), ids=TERMINALS)
def test_every_terminal_can_show_every_command(environ, strange, terminal):
    environ = environ | terminal | {"XDG_STATE_HOME": os.fsdecode(os.path.dirname(strange))}  # noqa: PTH120
    config = ["--config", strange]
    for arguments, status in [
        (["read", "--fake-hw", *config], 0),
        (["read", "--fake-hw", "--json", *config], 0),
        (["check", "--only", "secrets,sensor,configuration", "--verbose", *config], 1),
        (["check", "--only", "secrets,sensor,configuration", "--json", *config], 1),
        (["config", "check", *config], 78),
        (["run", *config], 78),  # The key is not there.
        (["status", *config], 1),
        (["led", "off", *config], 0),
    ]:
        done = run(environ, *arguments)
        if arguments[0] == "run" and done.returncode == 1 and not str(ROOT).isascii():
            # Compiled packages of the SDK cannot be imported from such a path.
            assert b"Set LC_ALL=C.UTF-8" in done.stderr
        else:
            assert done.returncode == status, (arguments, done)
        assert b"Traceback" not in done.stderr, arguments
        if "--json" in arguments:
            json.loads(done.stdout)


def test_central_runs_in_a_directory_of_any_name(environ, strange):
    data = os.path.dirname(strange) + b"/\xff"  # noqa: PTH120 - of bytes.
    with subprocess.Popen(
        [*AGENT, "central", "--data", data, "--listen", own_address(), "--http-port", "0"],
        env=environ | {"PYTHONIOENCODING": "ascii"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as central:
        assert central.stdout is not None
        lines = [central.stdout.readline()]
        while lines[-1] not in {b"Press Ctrl-C to stop.\n", b""}:
            lines.append(central.stdout.readline())
        central.terminate()
        _, log = central.communicate(timeout=PATIENCE)
    assert lines[-1] == b"Press Ctrl-C to stop.\n", log
    assert rb"caf\xe9-\U0001f321/\xff/group-key" in b"".join(lines)
    assert central.returncode == 0
    assert b"Traceback" not in log

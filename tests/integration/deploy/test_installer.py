"""What the installer asks, refuses and proposes: in dry runs, which change nothing."""

import base64
import hashlib
import hmac
import os
import pty
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

from agent.storage.machine_id import board_id

GROUP_KEY = base64.b64encode(b"the key of a whole group").decode()

pytestmark = pytest.mark.skipif(
    shutil.which("apt-get") is None or not Path("/usr/bin/python3").exists(),
    reason="the installer is for Debian and Raspberry Pi OS",
)


def install(*options, **more):
    return subprocess.run(
        ["sh", "deploy/install.sh", "--dry-run", *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        **({"stdin": subprocess.DEVNULL} | more),
    )  # fmt: skip


@pytest.fixture
def group_key(tmp_path):
    file = tmp_path / "group.key"
    file.write_text(GROUP_KEY + "\n")
    return file


def test_without_a_terminal_everything_that_is_missing_is_named_at_once():
    done = install()
    assert done.returncode == 2
    assert re.search(r"--id-scope --key-file \(or --group-key-file\)", done.stderr)


def test_an_own_key_needs_the_id_that_it_belongs_to(group_key):
    done = install("--id-scope", "0ne1", "--key-file", group_key)
    assert done.returncode == 2
    assert "must be given: --device-id" in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--key", GROUP_KEY], "a key is given as a file, with --key-file"),
        (["--key-file", "a", "--group-key-file", "b"], "one of them, not both"),
        (["--nonsense", "1"], "--nonsense is no option"),
        (["--id-scope"], "needs a value"),
    ],
)
def test_a_wrong_command_line_is_told(options, sentence):
    done = install(*options)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert GROUP_KEY not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["raspberrypi", "RaspberryPi", "localhost"])
def test_the_images_own_name_is_refused_and_one_of_the_boards_proposed(group_key, name):
    done = install("--id-scope", "0ne1", "--group-key-file", group_key, "--device-id", name)
    assert done.returncode == 1
    assert "every new image is called that" in done.stderr
    own = re.search(r"of this board: --device-id (\S+)\n", done.stderr)
    # A container may have no number, and then there is nothing to propose.
    assert re.fullmatch(r"pi-\w{8}", own[1]) if board_id() else own is None
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--device-id", "pi 1"], '[device] id = "pi 1": must be'),
        (["--device-id", "pi-1", "--pin", "99"], "[sensor] pin = 99: must be"),
        (["--device-id", "pi-1", "--pin", "5", "--led-pin", "5"], "is on that line"),
        (["--device-id", "pi-1", "--driver", "dht44"], 'did you mean "dht22"?'),
        (["--device-id", "pi-1", "--wheels", "/nowhere"], "There are no wheels in /nowhere."),
        (["--device-id", "pi-1", "--key-file", "/nowhere"], "not both"),
        (["--device-id", "pi-1", "--ca-file", "/nowhere"], "/nowhere cannot be read."),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_done(group_key, options, sentence):
    done = install("--id-scope", "0ne1", "--group-key-file", group_key, *options)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("text", ["", "no base64!", "=", "\x00\xff"])
def test_what_is_no_key_is_refused_unseen(tmp_path, text):
    file = tmp_path / "device.key"
    file.write_bytes(text.encode("latin-1"))
    done = install("--id-scope", "0ne1", "--key-file", file, "--device-id", "pi-1")
    assert done.returncode == 1
    assert done.stderr == (
        f"{file} does not hold a key: a key is one line of base64, as Connect shows it.\n"
        "Nothing was changed.\n"
    )


def test_a_person_is_asked_and_the_key_is_not_shown(tmp_path):
    ours, theirs = pty.openpty()
    # What is proposed is taken, where there is a number to make it from.
    answers = ["0ne1", "g", GROUP_KEY, "" if board_id() else "pi-1", "dht22", "", "27"]
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    done = install(stdin=theirs)
    assert done.returncode == 0, done.stderr
    assert "ID scope" in done.stderr
    assert "[17]: " in done.stderr
    assert GROUP_KEY not in done.stdout + done.stderr
    assert "adafruit.conf" in done.stdout


def test_a_key_that_was_typed_wrong_is_called_that():
    ours, theirs = pty.openpty()
    os.write(ours, "".join(f"{answer}\n" for answer in ["0ne1", "g", "no key!", "pi-1"]).encode())
    os.write(ours, b"dht22\n4\n27\n")
    done = install(stdin=theirs)
    assert done.returncode == 1
    assert "What was typed does not hold a key" in done.stderr


@pytest.mark.parametrize("answers", [["0ne1", "g", GROUP_KEY, "pi-1", "dht22", "99", "27"]])
def test_a_failed_installation_prints_the_typed_answers_as_options_but_no_key(answers):
    ours, theirs = pty.openpty()
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    done = install("--ca-file", __file__, stdin=theirs)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    _sudo, _sh, script, *options = shlex.split(line)
    assert Path(script) == ROOT / "deploy" / "install.sh"
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert given == {
        "--id-scope": "0ne1",
        "--device-id": "pi-1",
        "--driver": "dht22",
        "--pin": "99",
        "--led-pin": "27",
        "--ca-file": __file__,
    }
    assert GROUP_KEY not in done.stdout + done.stderr


def test_answers_are_quoted_for_the_shell():
    text = "it's $HOME"
    done = subprocess.run(
        ["sh", "-c", '. deploy/answers.sh; quoted "$1"', "sh", text],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert shlex.split(done.stdout) == [text]


def test_who_answers_no_more_is_asked_no_more():
    ours, theirs = pty.openpty()
    os.write(ours, b"0ne1\n\x04")
    done = install(stdin=theirs)
    assert done.returncode == 1
    assert "Which key do you have" in done.stderr
    assert "The key (it is not shown)" not in done.stderr
    assert "Nothing was changed.\n" in done.stderr


def test_the_key_of_a_device_is_made_from_the_groups(group_key):
    settle = f"group_key_file={group_key} device_id=pi-1"
    done = subprocess.run(
        ["sh", "-c", f". deploy/answers.sh; {settle}; make_key $group_key_file"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    own = hmac.digest(base64.b64decode(GROUP_KEY), b"pi-1", hashlib.sha256)
    assert base64.b64decode(done.stdout) == own


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_given_to_anybody(option):
    done = install(option)
    assert done.returncode == 0
    assert "--group-key-file FILE" in done.stdout


def test_nothing_takes_its_place_before_it_is_on_disk(group_key):
    done = install("--id-scope", "0ne1", "--group-key-file", group_key, "--device-id", "pi-1")
    said = [line.split() for line in done.stdout.splitlines()]
    moves = [number for number, line in enumerate(said) if line[0] == "mv" and line[1] != "-T"]
    assert len(moves) >= 3  # Configuration, key, unit.
    for number in moves:
        assert said[number - 1] == ["sync", said[number][1]]
    [installed] = [number for number, line in enumerate(said) if line[2:4] == ["-m", "venv"]]
    program = said[installed][-1]
    linked = next(number for number, line in enumerate(said) if line[:3] == ["ln", "-s", program])
    assert ["sync", "-f", program] in said[:linked]


def test_a_dry_run_leaves_nothing_behind(group_key, tmp_path):
    place = tmp_path / "temporary"
    place.mkdir()
    done = install(
        *("--id-scope", "0ne1", "--group-key-file", group_key, "--device-id", "pi-1"),
        env=os.environ | {"TMPDIR": str(place)},
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing was changed." in done.stdout
    assert list(place.iterdir()) == []

"""What the installer asks, refuses and assumes, without a change to the machine."""

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
from scripts import functions_of, sh

from agent.storage.machine_id import board_id

CONNECTION_STRING = "HostName=contoso.azure-devices.net;DeviceId=shed_1.a;SharedAccessKey=c2VjcmV0"
AZURE_KEY = base64.b64encode(bytes(range(32))).decode()
GROUP_KEY = base64.b64encode(b"the key of a whole group").decode()

pytestmark = pytest.mark.skipif(
    shutil.which("apt-get") is None or not Path("/usr/bin/python3").exists(),
    reason="the installer is for Debian and Raspberry Pi OS",
)


def run(lines, *options, **more):
    """Run `lines` after the installer's functions, as on a Raspberry Pi with GPIO lines."""
    text = functions_of("install.sh", f"has_gpio() {{ true; }}\n{lines}")
    return sh(text, "deploy/install.sh", *options, **more)


def install(*options, **more):
    return run('main "$@"', "--dry-run", *options, **more)


def settle(*options, answers=None):
    """Find out everything, with these answers typed on a terminal; print the configuration.

    Without `answers`, standard input is not a terminal. Then fail, as a later step could.
    """
    stdin = subprocess.DEVNULL
    if answers is not None:
        ours, stdin = pty.openpty()
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode() + b"\x04")
    lines = 'parse "$@"; settle; cat "$configuration"; fail "A later step failed."'
    return run(lines, *options, stdin=stdin)


@pytest.fixture
def group_key(tmp_path):
    file = tmp_path / "group.key"
    file.write_text(GROUP_KEY + "\n")
    return file


def test_without_a_terminal_everything_that_is_missing_is_named_at_once():
    done = settle()
    assert done.returncode == 2
    assert re.search(r"required: --connection-string-file, or --id-scope and --key", done.stderr)
    done = settle("--id-scope", "0ne1")
    assert re.search(r"required: --key-file \(or --group-key-file\)", done.stderr)


def test_an_own_key_needs_the_id_that_it_belongs_to(group_key):
    done = settle("--id-scope", "0ne1", "--key-file", group_key)
    assert done.returncode == 2
    assert "required: --device-id" in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--key", GROUP_KEY], "Write it to a file, and give that with --key-file"),
        (["--connection-string", GROUP_KEY], "and give that with --connection-string-file"),
        (["--connection-string-file", "a", "--key-file", "b"], "replaces --id-scope, --key-file"),
        (["--connection-string-file", "a", "--device-id", "pi-1"], "Give it without them."),
        (["--connection-string-file", "a", "--central", "."], "Give it without them."),
        (["--key-file", "a", "--group-key-file", "b"], "Give one of them."),
        (["--nonsense", "1"], "--nonsense is not an option"),
        (["--id-scope"], "its value is missing"),
    ],
)
def test_a_wrong_command_line_is_refused(options, sentence):
    done = install(*options)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert GROUP_KEY not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["raspberrypi", "RaspberryPi", "localhost"])
def test_the_name_of_every_new_image_is_refused_as_device_id(group_key, name):
    done = install("--id-scope", "0ne1", "--group-key-file", group_key, "--device-id", name)
    assert done.returncode == 1
    assert "every new image has this name" in done.stderr
    own = re.search(r"of this board: --device-id (\S+)\n", done.stderr)
    # A container may have no number, and then there is nothing to propose.
    if board_id():
        assert own
        assert re.fullmatch(r"pi-\w{8}", own[1])
    else:
        assert own is None
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--device-id", "pi 1"], '[device] id = "pi 1": must be'),
        (["--device-id", "pi-1", "--pin", "99"], "[sensor] pin = 99: must be"),
        (["--device-id", "pi-1", "--pin", "5", "--led-pin", "5"], "uses that GPIO too"),
        (["--device-id", "pi-1", "--driver", "dht44"], 'did you mean "dht22"?'),
        (["--device-id", "pi-1", "--driver", "sht31"], "read over I2C"),
        (["--device-id", "pi-1", "--wheels", "/nowhere"], "There are no wheels in /nowhere."),
        (["--device-id", "pi-1", "--key-file", "/nowhere"], "exclude each other"),
        (["--device-id", "pi-1", "--ca-file", "/nowhere"], "Cannot read /nowhere."),
    ],
)
def test_wrong_options_are_refused_before_anything_is_changed(group_key, options, sentence):
    done = install("--id-scope", "0ne1", "--group-key-file", group_key, *options)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "tmp." not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty."),
        ("no base64!", "holds a character that no key has, at position 3."),
        ("=", "holds a part of a key only"),
        ("\x89PNG\xff", "is not a text file."),
        (CONNECTION_STRING, "holds a connection string, not a key. Give it with --connection-s"),
    ],
)
def test_a_file_without_a_key_is_refused_and_not_shown(tmp_path, text, reason):
    file = tmp_path / "device.key"
    file.write_bytes(text.encode("latin-1"))
    done = install("--id-scope", "0ne1", "--key-file", file, "--device-id", "pi-1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{file} {reason}")
    assert done.stderr.endswith("\nNothing was changed.\n")
    assert "c2VjcmV0" not in done.stderr


FROM_A_STRING = """\

[cloud]
connection_string_file = "device.connection"

[sensor]
driver = "fake"

[led]
driver = "fake"
"""


@pytest.mark.parametrize(
    "content",
    [
        CONNECTION_STRING.encode(),
        b'\xef\xbb\xbf"' + CONNECTION_STRING.encode() + b'"\r\n',
        CONNECTION_STRING.encode("utf-16"),
        b'{\n  "connectionString": "' + CONNECTION_STRING.encode() + b'"\n}\n',
    ],
    ids=["plain", "mark, quotes and CRLF", "UTF-16", "JSON of az"],
)
def test_the_file_with_a_connection_string_suffices(tmp_path, content):
    file = tmp_path / "shed.connection"
    file.write_bytes(content)
    lines = 'parse "$@"; settle; cat "$configuration" "$work/device.connection"; echo "$device_id"'
    done = run(lines, "--connection-string-file", file, "--fake-hw")
    assert done.returncode == 0, done.stderr
    config, _, rest = done.stdout.partition("config example\n")[2].partition('driver = "fake"\n\n')
    assert config + 'driver = "fake"\n\n' + rest.partition("HostName")[0].partition("{")[0] == (
        "# To apply a change: sudo systemctl reload sensor-agent\n" + FROM_A_STRING
    )
    assert CONNECTION_STRING in done.stdout
    assert done.stdout.endswith("\nshed_1.a\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty."),
        (GROUP_KEY, "holds a key only, not a connection string."),
        (CONNECTION_STRING[:-8], "holds a connection string without SharedAccessKey."),
        (
            "HostName=h.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=c2VjcmV0",
            'holds the connection string of the policy "owner"',
        ),
    ],
)
def test_a_file_without_a_connection_string_is_refused_and_not_shown(tmp_path, text, reason):
    file = tmp_path / "device.connection"
    file.write_text(text)
    done = install("--connection-string-file", file, "--fake-hw")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{file} {reason}")
    assert done.stderr.endswith("\nNothing was changed.\n")
    assert done.stdout == ""
    assert "c2VjcmV0" not in done.stderr


def test_a_connection_string_for_a_certificate_names_what_to_do(tmp_path):
    file = tmp_path / "device.connection"
    file.write_text("HostName=h.azure-devices.net;DeviceId=d;x509=true\n")
    done = install("--connection-string-file", file, "--fake-hw")
    assert done.returncode == 1
    assert "x509=true, and the installer knows only keys" in done.stderr


def test_a_pasted_connection_string_is_the_answer_to_one_question():
    done = settle("--fake-hw", answers=[CONNECTION_STRING])
    assert FROM_A_STRING in done.stdout, done.stderr
    assert re.search(r": \nDevice id: shed_1\.a\nA later step failed\.\n", done.stderr)
    assert "c2VjcmV0" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("DeviceId=shed_1.a;SharedAccessKey=c2VjcmV0", "This line holds a connection string with"),
        (AZURE_KEY, "This line holds a key only, not a connection string."),
        (AZURE_KEY * 2, "This line does not hold a connection string"),
        ("", ""),
    ],
)
def test_a_wrong_connection_string_is_asked_again_and_not_shown(wrong, reason):
    done = settle("--fake-hw", answers=[wrong, CONNECTION_STRING])
    assert FROM_A_STRING in done.stdout, done.stderr
    assert reason in done.stderr
    assert done.stderr.count("Connection string of this device") == 2
    assert "c2VjcmV0" not in done.stdout + done.stderr
    assert AZURE_KEY not in done.stdout + done.stderr
    assert re.search(r"install\.sh'? --driver fake[^\n]* --fake-hw\n$", done.stderr)


def test_with_a_key_only_the_id_scope_is_asked(group_key):
    options = ("--group-key-file", group_key, "--device-id", "pi-1", "--fake-hw")
    done = settle(*options, answers=[CONNECTION_STRING, "0ne1"])
    assert done.stderr.count("ID scope (not shown") == 2, done.stderr
    assert "This is not an ID scope." in done.stderr
    assert 'id_scope = "0ne1"' in done.stdout


@pytest.mark.parametrize(
    ("options", "answers"), [([], [CONNECTION_STRING]), (["--connection-string-file"], None)]
)
def test_no_program_gets_a_connection_string_as_an_argument(tmp_path, options, answers):
    file = tmp_path / "device.connection"
    file.write_text(CONNECTION_STRING)
    stdin = subprocess.DEVNULL
    if answers is not None:
        ours, stdin = pty.openpty()
        os.write(ours, f"{answers[0]}\n".encode())
    lines = 'set -x; parse "$@"; settle'
    done = run(lines, "--fake-hw", *options, *[file for _ in options], stdin=stdin)
    assert done.returncode == 0, done.stderr
    traced = [line for line in done.stderr.splitlines() if "c2VjcmV0" in line]
    # In the trace of the shell: what it does itself, without another program.
    assert all(re.match(r"\++ (?:printf|\[) ", line) for line in traced)
    assert len(traced) == (0 if answers is None else 1), traced


KEPT = '[cloud]\nconnection_string_file = "device.connection"\n'


@pytest.fixture
def kept(tmp_path):
    """Return a function that settles with a configuration that exists, and its directory."""
    settings = tmp_path / "etc"
    (settings / "credentials").mkdir(parents=True)

    def settle_again(config, *options):
        (settings / "config.toml").write_text(config + '[sensor]\ndriver = "fake"\n')
        lines = f'settings={settings}; parse "$@"; settle; head "$work"/device.*; echo "$device_id"'
        return run(lines, *options)

    return settle_again, settings


def test_a_kept_configuration_keeps_or_replaces_the_connection_string(kept, tmp_path):
    settle_again, settings = kept
    done = settle_again(KEPT)
    assert done.returncode == 1
    assert "names the file device.connection, which is not installed." in done.stderr
    assert "Give it with --connection-string-file." in done.stderr

    (settings / "credentials" / "device.connection").write_text(CONNECTION_STRING)
    done = settle_again(KEPT)
    assert done.stdout.endswith(f"{CONNECTION_STRING}\nshed_1.a\n"), done.stderr

    (tmp_path / "new").write_text(CONNECTION_STRING.replace("shed", "barn"))
    done = settle_again(KEPT, "--connection-string-file", tmp_path / "new")
    assert done.stdout.endswith("\nbarn_1.a\n"), done.stderr


@pytest.mark.parametrize("option", ["--connection-string-file", "--key-file"])
def test_a_given_secret_that_the_kept_configuration_does_not_name_is_refused(
    kept, tmp_path, option
):
    settle_again, _ = kept
    config = KEPT
    content = GROUP_KEY
    if option == "--connection-string-file":
        config = '[device]\nid = "pi-1"\n[cloud]\nid_scope = "0ne1"\nkey_file = "device.key"\n'
        content = CONNECTION_STRING
    (tmp_path / "given").write_text(content)
    done = settle_again(config, option, tmp_path / "given")
    assert done.returncode == 1
    assert f'does not have {option[2:].replace("-", "_")} = "device.' in done.stderr
    assert "so the given file would\nnot be used." in done.stderr


OWN_ID = "" if board_id() else "pi-1"  # An empty answer takes the default, where there is one.


def test_without_options_everything_is_asked_and_the_key_is_not_shown():
    done = settle(answers=["0ne1", "g", GROUP_KEY, OWN_ID, "dht22", "", "27"])
    assert 'id_scope = "0ne1"' in done.stdout, done.stderr
    assert 'driver = "dht22"\npin = 4\n' in done.stdout
    assert "\n[led]\npin = 27\n" in done.stdout
    assert "[17]: " in done.stderr
    assert GROUP_KEY not in done.stdout + done.stderr
    assert "Using the defaults" not in done.stdout


def test_options_that_suffice_leave_no_question_on_a_terminal(group_key):
    options = ["--id-scope", "0ne1", "--group-key-file", group_key]
    if not board_id():
        options += ["--device-id", "pi-1"]
    done = settle(*options, answers=[])
    assert done.stderr == "A later step failed.\n"
    assert re.search(r"Using the defaults:.* --driver \w+ --pin 4 --led-pin 17\n", done.stdout)
    assert "\n[led]\npin = 17\n" in done.stdout


def test_with_fake_hardware_only_what_has_no_default_is_asked():
    done = settle("--fake-hw", answers=["0ne1", "d", GROUP_KEY, "pi-1"])
    assert done.stdout.endswith('\n[sensor]\ndriver = "fake"\n\n[led]\ndriver = "fake"\n')
    assert "Sensor driver" not in done.stderr
    assert "GPIO" not in done.stderr
    assert 'id = "pi-1"' in done.stdout


@pytest.mark.parametrize("driver", ["am2301", "dht21", "am2302", "dht11"])
def test_the_unit_gets_what_adafruits_driver_needs_under_each_name(group_key, driver):
    done = install("--id-scope", "0ne1", "--group-key-file", group_key, "--driver", driver)
    assert done.returncode == 0, done.stderr
    assert "adafruit.conf" in done.stdout


def test_a_dry_run_asks_nothing_and_names_what_it_assumes():
    ours, theirs = pty.openpty()
    os.write(ours, b"\x04")
    done = install("--fake-hw", stdin=theirs)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("Using the defaults: --connection-string-file FILE\n")
    done = install("--fake-hw", "--device-id", "pi-1")
    assert done.stdout.startswith("Using the defaults: --id-scope 0ne00000000 --key-file FILE\n")
    assert "tmp." not in done.stdout


# The right answers, and where a wrong one comes before them.
RIGHT = ["0ne1", "g", GROUP_KEY, "pi-1", "dht22", "4", "27"]


@pytest.mark.parametrize(
    ("position", "wrong", "reason"),
    [
        (0, "no scope!", 'id_scope = "no scope!": must be'),
        (0, "\x1b[A", 'id_scope = "?[A": must be'),
        (1, "x", "Answer d or g."),
        (2, "no key!", "This line holds a character that no key has"),
        (3, "/nope", 'id = "/nope": must be'),
        (3, "localhost", "Every new image has this name"),
        (4, "~/key", 'driver = "~/key": must be'),
        (5, "/a", 'pin = "/a": must be a whole'),
        (5, "04", 'pin = "04": must be a whole'),
        (6, "4", "pin = 4: [sensor] pin uses"),
    ],
)
def test_a_wrong_answer_is_asked_again_at_once_with_the_reason(position, wrong, reason):
    done = settle(answers=[*RIGHT[:position], wrong, *RIGHT[position:]])
    assert done.stderr.count(reason) == 1, done.stderr
    assert "tmp." not in done.stderr
    for line in ('id = "pi-1"', 'id_scope = "0ne1"', 'driver = "dht22"\npin = 4\n', "pin = 27"):
        assert line in done.stdout


def test_wrong_options_are_refused_before_the_first_question():
    done = settle("--pin", "99", answers=["0ne1"])
    assert done.stderr.startswith("[sensor] pin = 99: must be")
    assert done.stderr.endswith("Nothing was changed.\n")
    assert "ID scope" not in done.stderr


def test_the_line_chosen_for_the_sensor_may_be_the_default_of_the_led():
    done = settle(answers=["0ne1", "g", GROUP_KEY, "pi-1", "dht22", "17", "", "27"])
    assert "pin = 17\n\n[led]\npin = 27\n" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("options", "advice"),
    [([], "sudo make install ARGS=--fake-hw"), (["--pin", "4"], "add the option --fake-hw")],
)
def test_without_gpio_one_sentence_comes_before_the_first_question(options, advice):
    done = run('has_gpio() { false; }; parse "$@"; settle', *options, stdin=pty.openpty()[1])
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.endswith(f"simulated sensor and LED: {advice}\n")


def test_a_failed_installation_prints_the_typed_answers_as_options_but_no_key():
    done = settle("--ca-file", __file__, answers=["0ne1", "d", GROUP_KEY, "pi-1"])
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    _sudo, _sh, script, *options = shlex.split(line)
    assert Path(script) == ROOT / "deploy" / "install.sh"
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert given.pop("--driver") in {"dht22", "kernel"}
    assert given == {
        "--id-scope": "0ne1",
        "--device-id": "pi-1",
        "--pin": "4",
        "--led-pin": "17",
        "--ca-file": __file__,
    }
    assert GROUP_KEY not in done.stdout + done.stderr


@pytest.fixture
def central(tmp_path, group_key):
    """The data directory of a local IoT Central, as far as the installer reads it."""
    (tmp_path / "central.json").write_text('{"id_scope": "0ne2", "mqtt_host": "192.0.2.1"}')
    (tmp_path / "ca.pem").touch()
    group_key.rename(tmp_path / "group-key")
    return tmp_path


def test_the_data_directory_of_a_local_central_suffices(central):
    done = settle("--central", central, "--device-id", "pi-1", "--fake-hw", answers=[])
    assert done.stderr == "A later step failed.\n"
    cloud = 'id_scope = "0ne2"\nkey_file = "device.key"\nprovisioning_host = "192.0.2.1"\n'
    assert f'[cloud]\n{cloud}ca_file = "ca.pem"\n' in done.stdout


def test_central_excludes_the_options_that_it_replaces(central):
    done = settle("--central", central, "--id-scope", "0ne1", "--fake-hw")
    assert done.returncode == 2
    assert "--central replaces --id-scope" in done.stderr


def test_a_central_that_does_not_run_is_named(tmp_path):
    done = settle("--central", tmp_path, "--fake-hw")
    assert done.returncode == 1
    assert f"Cannot read {tmp_path}/central.json. Start the local IoT Central" in done.stderr


@pytest.mark.parametrize("content", ["", '{"id_scope":', "[]", "{}", b"\xff"])
def test_a_damaged_file_of_central_is_named(central, content):
    file = central / "central.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = settle("--central", central, "--fake-hw")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{file} is damaged. Restart the local IoT Central")
    assert done.stderr.endswith("\nNothing was changed.\n")


@pytest.mark.parametrize(
    ("host", "name", "is_centrals"),
    [
        ("127.0.0.1", "copied", True),
        ("localhost", "copied", True),
        ("192.0.2.1", "central", True),
        ("192.0.2.1", "copied", False),
        ("global.azure-devices-provisioning.net", "copied", False),
    ],
)
def test_the_group_key_of_a_central_on_this_machine_is_to_stay(tmp_path, host, name, is_centrals):
    key = tmp_path / name / "group-key"
    (tmp_path / "central").mkdir()
    (tmp_path / "central" / "ca-key.pem").touch()
    done = run(f"host={host} group_key_file={key} device_id=pi-1; report")
    assert done.returncode == 0, done.stderr
    assert (f"Remove {key} from this machine" not in done.stdout) is is_centrals


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], ""),
        (["--wheels", "/w", "--key-file", "k"], ""),
        (
            ["--pin", "4", "--fake-hw"],
            " To change it, edit it: these options are not used: --pin --fake-hw",
        ),
    ],
)
def test_options_that_a_kept_configuration_makes_useless_are_named(options, sentence):
    done = run('parse "$@"; configuration=FILE; say_what_is_kept', *options)
    assert done.stdout == f"Keeping FILE.{sentence}\n"


def test_answers_are_quoted_for_the_shell():
    text = "it's $HOME"
    done = sh('. deploy/answers.sh; quoted "$1"', "sh", text)
    assert shlex.split(done.stdout) == [text]


@pytest.mark.parametrize(
    ("answers", "last"),
    [(["0ne1"], "Is the key this device"), (["0ne1", "g"], "Key (not shown while you type): ")],
)
def test_the_end_of_input_ends_the_questions(answers, last):
    done = settle(answers=answers)
    assert done.returncode == 1
    assert last in done.stderr
    assert "Device id" not in done.stderr
    assert "Nothing was changed.\n" in done.stderr


def test_the_key_of_a_device_is_derived_from_the_groups(group_key):
    done = run(f"make_key {group_key} pi-1")
    own = hmac.digest(base64.b64decode(GROUP_KEY), b"pi-1", hashlib.sha256)
    assert base64.b64decode(done.stdout) == own


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_needs_no_root(option):
    done = install(option)
    assert done.returncode == 0
    assert "--group-key-file FILE" in done.stdout


def test_files_are_synced_before_they_replace_others(group_key):
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

"""What `sensor-agent setup` asks on a terminal, and what it does with wrong answers."""

import re
import shlex
import socket

import pytest
from examinations import write
from setups import CONNECTION, GROUP_KEY, SECRET, SETTINGS
from statuses import status_with

from agent.cli.setup.machine import Done

AZURE_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
RIGHT = ["0ne1", "g", GROUP_KEY, "pi-1", "dht22", "4", "27"]


def test_everything_is_asked_and_a_default_is_proposed(pi, typed, capsys):
    asked = typed("0ne1", "g", GROUP_KEY, "", "", "", "27")
    assert pi.setup() == 0
    assert [question.partition(" (")[0] for question in asked] == [
        "Connection string of this device, as IoT Hub shows it, or ID scope",
        "Does this device have its own key",
        "Key",
        "Device id [pi-abcd1234]",
        "Sensor driver",
        "GPIO number of the sensor's data wire [4]",
        "GPIO number of the LED [17]",
    ]
    assert 'id = "pi-abcd1234"\n' in pi.text()
    assert "\n[led]\npin = 27\n" in pi.text()
    out, err = capsys.readouterr()
    assert "Using the defaults" not in out
    assert GROUP_KEY not in out + err


def test_a_pasted_connection_string_is_the_answer_to_one_question(pi, typed, capsys):
    asked = typed(CONNECTION)
    assert pi.setup(fake_hw=True) == 0
    assert len(asked) == 1
    out, err = capsys.readouterr()
    assert "Device id: shed_1.a\n" in err
    assert SECRET not in out + err


def test_options_that_suffice_leave_no_question(pi, typed, group_key):
    asked = typed()
    assert pi.setup(id_scope="0ne1", group_key_file=group_key) == 0
    assert asked == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("DeviceId=shed_1.a;SharedAccessKey=c2VjcmV0", "This line holds a connection string with"),
        (AZURE_KEY, "This line holds a key only, not a connection string."),
        ("", ""),
    ],
)
def test_a_wrong_connection_string_is_asked_again_and_not_shown(pi, typed, capsys, wrong, reason):
    asked = typed(wrong, CONNECTION)
    assert pi.setup(fake_hw=True) == 0
    out, err = capsys.readouterr()
    assert reason in err
    assert len(asked) == 2
    assert SECRET not in out + err
    assert AZURE_KEY not in out + err


@pytest.mark.parametrize(
    ("position", "wrong", "reason"),
    [
        (0, "no scope!", 'id_scope = "no scope!": must be'),
        (0, "\x1b[A", 'id_scope = "?[A": must be'),
        (1, "x", "Answer d, g or c."),
        (2, "no key!", "This line holds a character that no key has"),
        (2, "", "This line is empty."),
        (3, "/nope", 'id = "/nope": must be'),
        (3, "localhost", "Every new image has this name"),
        (4, "~/key", 'driver = "~/key": must be'),
        (5, "/a", 'pin = "/a": must be a whole'),
        (5, "04", 'pin = "04": must be a whole'),
        (6, "4", "pin = 4: [sensor] pin uses"),
    ],
)
def test_a_wrong_answer_is_asked_again_at_once_with_the_reason(
    pi, typed, capsys, position, wrong, reason
):
    typed(*RIGHT[:position], wrong, *RIGHT[position:])
    assert pi.setup() == 0
    assert capsys.readouterr().err.count(reason) == 1
    for line in ('id = "pi-1"', 'id_scope = "0ne1"', 'driver = "dht22"\npin = 4\n', "pin = 27"):
        assert line in pi.text()


def test_the_line_chosen_for_the_sensor_may_be_the_default_of_the_led(pi, typed):
    typed("0ne1", "g", GROUP_KEY, "pi-1", "dht22", "17", "", "27")
    assert pi.setup() == 0
    assert "pin = 17\n\n[led]\npin = 27\n" in pi.text()


def test_with_a_key_only_the_id_scope_is_asked(pi, typed, group_key, capsys):
    asked = typed(CONNECTION, "0ne1")
    assert pi.setup(group_key_file=group_key, fake_hw=True) == 0
    assert asked == ["ID scope", "ID scope"]
    assert "This is not an ID scope." in capsys.readouterr().err


def test_a_key_of_its_own_needs_the_id_that_it_belongs_to(pi, typed):
    asked = typed("0ne1", "d", AZURE_KEY, "", "shed")
    assert pi.setup(fake_hw=True) == 0
    assert asked.count("Device id that the key belongs to") == 2
    assert 'id = "shed"\n' in pi.text()


def test_a_connection_string_for_a_certificate_asks_for_its_files(pi, typed, certificate):
    certificate, key = certificate
    string = CONNECTION.partition("SharedAccessKey")[0] + "x509=true"
    typed(string, "/nowhere", str(certificate), "", str(key))
    assert pi.setup(fake_hw=True) == 0
    assert pi.path(f"{SETTINGS}/credentials/device-key.pem").read_bytes() == key.read_bytes()


def test_the_end_of_the_answers_changes_nothing_and_repeats_them(pi, typed, capsys):
    before = pi.files()
    typed("0ne1", "g", GROUP_KEY, "pi-1")
    assert pi.setup() == 1
    assert pi.files() == before
    err = capsys.readouterr().err
    assert "Nothing was changed." in err
    line = err.splitlines()[-1]
    assert shlex.split(line)[3:] == ["--id-scope", "0ne1", "--device-id", "pi-1"]
    assert GROUP_KEY not in err


def test_a_failed_start_repeats_the_typed_answers_but_no_key(pi, typed, capsys):
    pi.answers["systemctl restart sensor-agent"] = Done(1, "Job failed.\n")
    typed(*RIGHT)
    assert pi.setup() == 1
    err = capsys.readouterr().err
    assert shlex.split(err.splitlines()[-1]) == [
        *("sudo", "sensor-agent", "setup", "--id-scope", "0ne1", "--device-id", "pi-1"),
        *("--driver", "dht22", "--pin", "4", "--led-pin", "27"),
    ]
    assert GROUP_KEY not in err


# With a configuration.


KEPT = (
    '[cloud]\nconnection_string_file = "device.connection" # mine\n\n[sensor]\n'
    'driver = "dht11"\npin = 22\n\n[led]\npin = 5\n'
)


@pytest.fixture
def kept(pi):
    pi.config(KEPT)
    pi.secret("device.connection", CONNECTION)
    pi.runs()
    return pi


def test_todays_values_are_the_defaults(kept, typed, capsys):
    asked = typed("", "", "", "")
    assert kept.setup() == 0
    assert "Enter keeps today's (contoso.azure-devices.net)" in asked[0]
    assert re.findall(r"\[(.*)\]$", "\n".join(asked), re.MULTILINE) == ["dht11", "22", "5"]
    assert kept.text() == KEPT
    assert SECRET not in "".join(capsys.readouterr())


def test_lines_can_be_exchanged(kept, typed):
    typed("", "", "5", "22")
    assert kept.setup() == 0
    assert kept.text() == KEPT.replace("22", "x").replace("= 5", "= 22").replace("x", "5")


def test_a_mistake_in_the_file_does_not_make_the_other_answers_wrong(kept, typed):
    write(kept.root, f"{SETTINGS}/config.toml", KEPT.replace("22", "99"))
    asked = typed("", "", "22", "")
    assert kept.setup() == 0
    assert len(asked) == 4
    assert kept.text() == KEPT


def test_another_way_is_asked_completely(kept, typed):
    typed("0ne1", "g", GROUP_KEY, "shed", "", "", "")
    assert kept.setup() == 0
    assert '[cloud]\nid_scope = "0ne1"\nkey_file = "device.key"\n' in kept.text()
    assert '\n[device]\nid = "shed"\n' in kept.text()
    assert not kept.path(f"{SETTINGS}/credentials/device.connection").exists()


def test_the_earlier_secret_stays_until_the_new_way_has_connected(kept, typed):
    kept.statuses = [status_with(cloud={"hub": None, "error": "hub.test cannot be reached: no."})]
    typed("0ne1", "g", GROUP_KEY, "shed", "", "", "")
    assert kept.setup() == 1
    assert kept.path(f"{SETTINGS}/credentials/device.connection").exists()


def test_a_key_does_not_replace_a_connection_string(kept, typed, group_key, capsys):
    asked = typed()
    assert kept.setup(group_key_file=group_key) == 2
    assert "A key needs --id-scope" in capsys.readouterr().err
    assert asked == []
    assert kept.text() == KEPT


# A central on this machine.


@pytest.fixture
def central(pi, issue):
    """A local IoT Central that runs on this machine, as far as setup sees it."""
    directory = pi.path("home/anna/.local/state/sensor-agent/central")
    pi.environ = {"HOME": "/home/anna"}
    directory.mkdir(parents=True)
    issue("shed", directory)
    (directory / "group-key").write_text(GROUP_KEY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        text = f'{{"id_scope": "0ne2", "mqtt_host": "127.0.0.1", "mqtt_port": {port}}}'
        write(directory, "central.json", text)
        yield directory


def test_a_central_that_runs_here_is_proposed(pi, typed, central):
    asked = typed("", "", "", "", "")
    assert pi.setup() == 0
    assert f"Enter connects to the local IoT Central in {central}" in asked[0]
    assert 'id_scope = "0ne2"\nkey_file = "device.key"\nprov' in pi.text()


def test_a_central_that_runs_here_can_replace_todays_way(kept, typed, central):
    asked = typed("c", "", "", "", "")
    assert kept.setup() == 0
    assert f"; c connects to the local IoT Central in {central}" in asked[0]
    assert "connection_string_file" not in kept.text()
    assert 'id_scope = "0ne2"\nkey_file = "device.key"\nprov' in kept.text()


def test_a_central_that_does_not_run_is_not_proposed(pi, typed, central):
    write(central, "central.json", '{"id_scope": "0ne2", "mqtt_host": "127.0.0.1", "mqtt_port": 1}')
    asked = typed(CONNECTION, "", "", "")
    assert pi.setup() == 0
    assert "Enter" not in asked[0]

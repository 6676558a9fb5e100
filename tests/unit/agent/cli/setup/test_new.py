"""`sensor-agent setup` on a machine without a configuration."""

import base64
import hashlib
import hmac
import shlex
from pathlib import Path

import pytest
from boot_configs import SHAPES, board_with, load
from examinations import write
from setups import BOOT, CONNECTION, DROP_INS, GROUP_KEY, SECRET, SETTINGS
from statuses import status_with

from agent.cli.setup.machine import Done
from hw import boot_config

HEAD = """\
# Written by sensor-agent setup. To see every key: sensor-agent config example
# To apply a change: sudo systemctl reload sensor-agent
"""


def test_a_connection_string_suffices(pi, connection, capsys):
    assert pi.setup(connection_string_file=connection) == 0
    assert pi.text() == (
        f'{HEAD}\n[cloud]\nconnection_string_file = "device.connection"\n\n'
        '[sensor]\ndriver = "dht22"\npin = 4\n\n[led]\npin = 17\n'
    )
    assert pi.text(f"{SETTINGS}/credentials/device.connection") == f"{CONNECTION}\n"
    out, err = capsys.readouterr()
    assert "Using the defaults: --driver dht22 --pin 4 --led-pin 17\n" in out
    assert SECRET not in out + err
    assert out.endswith(
        "sensor-agent runs as pi-1 and is connected to hub.test. To see its readings: sudo "
        "sensor-agent status\n"
    )


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        (SETTINGS, 0o750),
        (f"{SETTINGS}/config.toml", 0o640),
        (f"{SETTINGS}/ca.pem", 0o644),
        (f"{SETTINGS}/credentials", 0o700),
        (f"{SETTINGS}/credentials/device.key", 0o600),
        (DROP_INS, 0o755),
        (f"{DROP_INS}/adafruit.conf", 0o644),
    ],
)
def test_everything_gets_its_mode(pi, group_key, ca, path, mode):
    options = {"id_scope": "0ne1", "group_key_file": group_key, "provisioning_host": "192.0.2.1"}
    assert pi.setup(**options, ca_file=ca) == 0
    assert pi.path(path).stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("is_root", [True, False])
def test_secrets_are_checked_in_memory_by_root_and_only_its_user_can_read_them(
    pi, connection, monkeypatch, tmp_path, is_root
):
    pi.is_root = is_root
    others = tmp_path / "tmp"
    others.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(others))
    seen = []

    def sign_in(config, *, base, environ):
        secret = base / "credentials/device.connection"
        seen.append((base.parent, secret.parent.stat().st_mode, secret.stat().st_mode))
        return config, None

    monkeypatch.setattr("agent.cli.setup.command.sign_in", sign_in)
    assert pi.setup(connection_string_file=connection, dry_run=True) == 0
    place = pi.path("run") if is_root else others
    assert seen == [(place, 0o40700, 0o100600)]
    assert [path.name for path in place.iterdir()] == (["systemd"] if is_root else [])


def test_what_a_power_cut_left_of_a_secret_is_removed(pi, connection):
    pi.path(f"{SETTINGS}/credentials").mkdir(parents=True)
    left = pi.path(f"{SETTINGS}/credentials/.device.key.new")
    left.write_text(SECRET)
    assert pi.setup(connection_string_file=connection) == 0
    assert not left.exists()


def test_only_this_devices_own_key_is_installed(pi, group_key, capsys):
    assert pi.setup(id_scope="0ne1", group_key_file=group_key, driver="dht11") == 0
    assert '[device]\nid = "pi-abcd1234"\n\n[cloud]\nid_scope = "0ne1"\n' in pi.text()
    own = hmac.digest(base64.b64decode(GROUP_KEY), b"pi-abcd1234", hashlib.sha256)
    assert base64.b64decode(pi.text(f"{SETTINGS}/credentials/device.key")) == own
    assert f"does not need the group key. Remove {group_key} from" in capsys.readouterr().out
    assert not any(GROUP_KEY.encode() in content for _, content in pi.files().values())


def test_the_kernels_driver_is_proposed_and_enabled(pi, connection, capsys):
    write(pi.root, "boot/firmware/overlays/dht11.dtbo", "")
    assert pi.setup(connection_string_file=connection, pin="22") == 0
    assert 'driver = "kernel"\npin = 22\n' in pi.text()
    boot = pi.path("boot/firmware/config.txt").read_bytes()
    assert boot == boot_config.with_driver(BOOT.encode(), 22)
    assert pi.changes == [
        "dtoverlay dht11 gpiopin=22",
        "systemctl daemon-reload",
        "systemctl --quiet enable sensor-agent",
        "systemctl restart sensor-agent",
    ]
    assert not pi.path(f"{DROP_INS}/adafruit.conf").exists()
    assert "reboot" not in capsys.readouterr().out


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_of_config_txt_loads_the_driver_afterwards(pi, connection, capsys, name):
    shape = SHAPES[name]
    file = board_with(pi.root, shape)
    status = pi.setup(connection_string_file=connection, driver="kernel", pin="4", led_pin="27")
    content = file.read_bytes()
    if shape.users:
        assert status == 1
        assert f"{file} has the line {shape.users[0]}." in capsys.readouterr().err
        assert content == shape.content
        return
    assert status == 0
    assert load(pi.root).loads_driver(4)
    if 4 in shape.pins:
        assert content == shape.content
    else:
        assert content == boot_config.with_driver(shape.content, 4)
        assert boot_config.without_driver(content).startswith(shape.content)


def test_the_kernels_driver_is_refused_if_the_firmware_lacks_its_overlay(pi, connection, capsys):
    before = pi.files()
    assert pi.setup(connection_string_file=connection, driver="kernel") == 1
    assert "has no overlay for the kernel driver dht11" in capsys.readouterr().err
    assert pi.files() == before


def test_a_driver_that_cannot_be_loaded_now_needs_a_restart(pi, connection, capsys):
    write(pi.root, "boot/firmware/overlays/dht11.dtbo", "")
    pi.answers["dtoverlay dht11 gpiopin=4"] = Done(1, "* Failed to apply overlay\n")
    assert pi.setup(connection_string_file=connection) == 0
    said = capsys.readouterr().out
    assert "now (* Failed to apply overlay). Restart the Pi: sudo reboot" in said


def test_a_system_without_config_txt_is_told_what_to_do(pi, connection, capsys):
    pi.path("boot/firmware/config.txt").unlink()
    assert pi.setup(connection_string_file=connection, driver="kernel") == 0
    assert "Load the kernel driver dht11 for GPIO 4 yourself." in capsys.readouterr().out


@pytest.mark.parametrize(("timesyncd", "wanted"), [("enabled", False), ("disabled", True)])
def test_the_unit_reads_the_clocks_state_if_timesyncd_does_not_keep_it(
    pi, connection, timesyncd, wanted
):
    pi.answers["systemctl is-enabled systemd-timesyncd"] = Done(0, f"{timesyncd}\n")
    assert pi.setup(connection_string_file=connection) == 0
    assert pi.path(f"{DROP_INS}/clock.conf").exists() is wanted


def test_simulated_hardware_needs_no_board(pi, connection):
    pi.path("dev/gpiochip0").unlink()
    assert pi.setup(connection_string_file=connection, fake_hw=True) == 0
    assert pi.text().endswith('\n[sensor]\ndriver = "fake"\n\n[led]\ndriver = "fake"\n')
    assert list(pi.path(DROP_INS).iterdir()) == []
    assert pi.path("boot/firmware/config.txt").read_text() == BOOT


@pytest.mark.parametrize(("dry_run", "last"), [(False, []), (True, ["--dry-run"])])
def test_a_machine_without_gpio_lines_is_refused_with_the_same_options(
    pi, connection, capsys, monkeypatch, dry_run, last
):
    pi.path("dev/gpiochip0").unlink()
    monkeypatch.chdir(connection.parent)  # The same file from any directory.
    file = Path(connection.name)
    options = {"connection_string_file": file, "driver": "kernel", "pin": "5"}
    assert pi.setup(**options, dry_run=dry_run) == 1
    advice = capsys.readouterr().err.partition("simulated sensor and LED: ")[2]
    assert shlex.split(advice) == [
        *("sudo", "sensor-agent", "setup", "--connection-string-file", str(connection)),
        *("--pin", "5", "--fake-hw", *last),
    ]


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        ({"key_file": "k", "group_key_file": "k"}, 2, "exclude each other. Give one of them."),
        ({"connection_string_file": "c", "key_file": "k"}, 2, "Give it without them."),
        ({"connection_string_file": "c", "device_id": "pi-1"}, 2, "Give it without them."),
        ({"central": "c", "id_scope": "0ne1"}, 2, "--central replaces --key-file, --id-scope"),
        ({"certificate_file": "c", "id_scope": "0ne1"}, 2, "belong together. Give both."),
        ({"fake_hw": True, "driver": "kernel"}, 2, "Give it without --driver."),
        ({}, 2, "required: --connection-string-file, or --id-scope and --key-file (or"),
        ({"id_scope": "0ne1"}, 2, "required: --key-file (or --group-key-file)"),
        ({"key_file": "key"}, 2, "required: --id-scope --device-id"),
        ({"id_scope": "0ne1", "key_file": "key"}, 2, "required: --device-id"),
        ({"ca_file": "/nowhere"}, 1, "Cannot read /nowhere: No such file or directory."),
        ({"key_file": "."}, 1, ". is a directory, not a file."),
        ({"device_id": "RaspberryPi"}, 1, "same id disconnect each other. Made from the serial"),
        ({"device_id": "localhost"}, 1, "number of this board: --device-id pi-abcd1234"),
        ({"id_scope": "0ne1", "device_id": "pi 1"}, 78, '[device] id = "pi 1": must be'),
        ({"id_scope": "no scope"}, 78, '[cloud] id_scope = "no scope": must be'),
        ({"pin": "99"}, 78, "[sensor] pin = 99: must be"),
        ({"pin": "04"}, 78, '[sensor] pin = "04": must be'),
        ({"pin": "5", "led_pin": "5"}, 78, "uses that GPIO too"),
        ({"driver": "dht44"}, 78, 'did you mean "dht22"?'),
        ({"driver": "sht31"}, 78, 'set driver = "kernel" and model = "sht3x"'),
    ],
)
def test_wrong_options_are_refused_before_anything_is_changed(
    pi, tmp_path, group_key, monkeypatch, capsys, options, status, sentence
):
    monkeypatch.chdir(tmp_path)
    group_key.rename("key")
    paths = {
        name: tmp_path / value
        for name, value in options.items()
        if name.endswith("_file") or name == "central"
    }
    before = pi.files()
    assert pi.setup(**options | paths) == status
    out, err = capsys.readouterr()
    assert sentence.replace(". is", f"{tmp_path} is") in err
    assert out == ""
    assert pi.files() == before
    assert pi.changes == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is empty."),
        (b"no base64!", "holds a character that no key has, at position 3."),
        (b"\x89PNG\xff", "is not a text file."),
        (CONNECTION.encode(), "holds a connection string, not a key. Give it with --connection"),
        (b"=" * 1_000_001, "is larger than 1 MB"),
    ],
)
def test_a_file_without_a_key_is_refused_and_not_shown(pi, tmp_path, capsys, text, reason):
    file = tmp_path / "device.key"
    file.write_bytes(text)
    assert pi.setup(id_scope="0ne1", key_file=file, device_id="pi-1") == 1
    err = capsys.readouterr().err
    assert err.startswith(f"{file} {reason}")
    assert SECRET not in err


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf"' + CONNECTION.encode() + b'"\r\n',
        CONNECTION.encode("utf-16"),
        b'{\n  "connectionString": "' + CONNECTION.encode() + b'"\n}\n',
    ],
    ids=["mark, quotes and CRLF", "UTF-16", "JSON of az"],
)
def test_a_connection_string_is_accepted_in_each_form(pi, connection, content):
    connection.write_bytes(content)
    assert pi.setup(connection_string_file=connection) == 0
    assert CONNECTION in pi.text(f"{SETTINGS}/credentials/device.connection")


def test_a_file_without_certificates_is_refused_by_its_own_name(pi, connection, capsys):
    assert pi.setup(connection_string_file=connection, ca_file=connection) == 78
    assert capsys.readouterr().err == f"{connection} does not hold certificates in PEM form.\n"
    assert not pi.path(SETTINGS).exists()


def test_a_private_key_among_the_authorities_is_not_installed(pi, connection, certificate, capsys):
    both = connection.with_name("both.pem")
    both.write_bytes(b"".join(file.read_bytes() for file in certificate))
    assert pi.setup(connection_string_file=connection, ca_file=both) == 1
    assert capsys.readouterr().err.startswith(f"{both} holds a private key, too.")
    assert not pi.path(SETTINGS).exists()


@pytest.mark.parametrize("way", ["connection string", "ID scope"])
def test_a_certificate_is_installed_with_its_key(pi, connection, certificate, way):
    options = {"certificate_file": certificate[0], "certificate_key_file": certificate[1]}
    if way == "ID scope":
        options |= {"id_scope": "0ne1", "device_id": "shed_1.a"}
    else:
        connection.write_text(CONNECTION.partition("SharedAccessKey")[0] + "x509=true\n")
        options["connection_string_file"] = connection
    assert pi.setup(**options) == 0
    assert 'x509_cert_file = "device-cert.pem"\nx509_key_file = "device-key.pem"\n' in pi.text()
    for name, given in zip(("device-cert.pem", "device-key.pem"), certificate, strict=True):
        installed = pi.path(f"{SETTINGS}/credentials/{name}")
        assert installed.read_bytes() == given.read_bytes()
        assert installed.stat().st_mode & 0o777 == 0o600
        line = f"LoadCredential={name}:/etc/sensor-agent/credentials/{name}\n"
        assert line in pi.text(f"{DROP_INS}/certificate.conf")


def test_a_connection_string_for_a_certificate_needs_one(pi, connection, capsys):
    connection.write_text(CONNECTION.partition("SharedAccessKey")[0] + "x509=true\n")
    assert pi.setup(connection_string_file=connection) == 2
    assert "required: --certificate-file and --certificate-key-file" in capsys.readouterr().err


def test_a_key_of_another_certificate_is_refused(pi, certificate, issue, capsys):
    other = issue("barn")[1]
    options = {"certificate_file": certificate[0], "certificate_key_file": other}
    assert pi.setup(id_scope="0ne1", device_id="pi-1", **options) == 78
    assert capsys.readouterr().err.startswith(f"{other} is not the private key of {certificate[0]}")


@pytest.fixture
def central(tmp_path, group_key, ca):
    """The data directory of a local IoT Central."""
    text = '{"id_scope": "0ne2", "mqtt_host": "127.0.0.1", "http": "http://127.0.0.1:8080"}'
    (tmp_path / "central.json").write_text(text)
    group_key.rename(tmp_path / "group-key")
    return tmp_path


def test_the_data_directory_of_a_local_central_suffices(pi, central, capsys):
    assert pi.setup(central=central, fake_hw=True) == 0
    assert (
        'id_scope = "0ne2"\nkey_file = "device.key"\nprovisioning_host = "127.0.0.1"\n'
        'ca_file = "ca.pem"\n'
    ) in pi.text()
    assert pi.path(f"{SETTINGS}/ca.pem").read_bytes() == (central / "ca.pem").read_bytes()
    said = capsys.readouterr().out
    assert said.endswith("sudo sensor-agent status, or http://127.0.0.1:8080\n")
    assert "group key" not in said  # It is central's.


def test_a_central_that_does_not_run_is_named(pi, tmp_path, capsys):
    assert pi.setup(central=tmp_path, fake_hw=True) == 1
    assert capsys.readouterr().err.startswith(
        f"Cannot read {tmp_path}/central.json: No such file or directory. Start the local IoT"
    )


@pytest.mark.parametrize("content", [b"", b'{"id_scope":', b"[]", b"{}", b"\xff"])
def test_a_damaged_file_of_central_is_named(pi, central, capsys, content):
    (central / "central.json").write_bytes(content)
    assert pi.setup(central=central, fake_hw=True) == 1
    assert capsys.readouterr().err.startswith(f"{central}/central.json is damaged. Restart")


# The start of the service.


def test_a_service_that_does_not_start_keeps_the_answers(pi, connection, capsys):
    pi.answers["systemctl restart sensor-agent"] = Done(1, "Job failed.\n")
    log = "journalctl --quiet --no-pager --boot --unit sensor-agent --output cat --lines 10"
    pi.answers[log] = Done(0, "the daemon's last words\n")
    assert pi.setup(connection_string_file=connection) == 1
    err = capsys.readouterr().err
    assert err.startswith("the daemon's last words\n")
    assert "The service does not start. Its last messages are above." in err
    assert "kept in /etc/sensor-agent. After the cause is corrected: sudo sensor-agent setup" in err
    assert "Undoing" not in err
    assert pi.path(f"{SETTINGS}/config.toml").exists()


def test_a_service_that_systemd_has_not_started_does_not_count_as_ready(pi, connection):
    pi.answers["systemctl is-active sensor-agent"] = Done(3, "inactive\n")
    assert pi.setup(connection_string_file=connection) == 1


def test_the_connection_is_waited_for(pi, connection, capsys):
    waiting = status_with(cloud={"hub": None})
    pi.statuses = [None, waiting, waiting, status_with()]
    assert pi.setup(connection_string_file=connection) == 0
    assert "is connected to hub.test" in capsys.readouterr().out
    assert pi.clock == 1.5


def test_a_daemon_that_cannot_connect_is_reported_and_stays(pi, connection, capsys):
    pi.statuses = [status_with(cloud={"hub": None, "error": "hub.test cannot be reached: no."})]
    assert pi.setup(connection_string_file=connection) == 1
    err = capsys.readouterr().err
    assert err.startswith(
        "sensor-agent runs as pi-1, but is not connected: hub.test cannot be reached: no. It keeps"
    )
    assert "kept in" not in err
    assert pi.clock >= 30
    assert "systemctl stop" not in " ".join(pi.commands)


def test_a_daemon_that_does_not_answer_is_reported(pi, connection, capsys):
    pi.statuses = [None]
    assert pi.setup(connection_string_file=connection) == 1
    assert "does not answer on its control socket" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("caller", "groups", "added"),
    [("anna", "anna sudo", True), ("anna", "anna sensor-agent", False), ("root", "root", False)],
)
def test_the_caller_of_sudo_joins_the_group(pi, connection, caller, groups, added):
    pi.environ = {"SUDO_USER": caller}
    pi.answers[f"id -nG {caller}"] = Done(0, f"{groups}\n")
    assert pi.setup(connection_string_file=connection) == 0
    assert (f"usermod --append --groups sensor-agent {caller}" in pi.commands) is added


def test_a_user_who_cannot_join_the_group_does_not_undo_the_setup(pi, connection, capsys):
    pi.environ = {"SUDO_USER": "anna"}
    command = "usermod --append --groups sensor-agent anna"
    pi.answers[command] = Done(6, "usermod: user 'anna' does not exist\n")
    assert pi.setup(connection_string_file=connection) == 0
    assert "Cannot add anna (usermod: user 'anna' does not exist)." in capsys.readouterr().out


# What it needs.


def test_root_is_required_and_the_options_are_repeated(pi, connection, capsys):
    pi.is_root = False
    assert pi.setup(connection_string_file=connection, pin="5") == 1
    assert capsys.readouterr().err == (
        "Root is required. Use sudo: sudo sensor-agent setup --connection-string-file "
        f"{connection} --pin 5\n"
    )


def test_the_package_must_be_installed(pi, connection, capsys):
    pi.path("usr/lib/systemd/system/sensor-agent.service").unlink()
    assert pi.setup(connection_string_file=connection) == 1
    assert "Install the package sensor-agent first" in capsys.readouterr().err


def test_the_system_must_run_systemd(pi, connection, capsys):
    pi.path("run/systemd/system").rmdir()
    assert pi.setup(connection_string_file=connection) == 1
    assert "not started with systemd" in capsys.readouterr().err


def test_a_dry_run_prints_the_steps_and_changes_nothing(pi, capsys):
    write(pi.root, "boot/firmware/overlays/dht11.dtbo", "")
    pi.is_root = False
    before = pi.files()
    assert pi.setup(dry_run=True) == 0
    assert pi.files() == before
    assert pi.changes == []
    assert capsys.readouterr().out == (
        "Using the defaults: --connection-string-file FILE --driver kernel --pin 4 --led-pin 17\n"
        "Creating /etc/sensor-agent\n"
        "Creating /etc/sensor-agent/credentials\n"
        "Writing /etc/sensor-agent/credentials/device.connection\n"
        "Writing /etc/sensor-agent/config.toml\n"
        f"Creating /{DROP_INS}\n"
        f"Writing dtoverlay=dht11,gpiopin=4 to {pi.root}/boot/firmware/config.txt\n"
        "Loading the kernel driver dht11 for GPIO 4\n"
        "    dtoverlay dht11 gpiopin=4\n"
        "Starting the service\n"
        "    systemctl daemon-reload\n"
        "    systemctl --quiet enable sensor-agent\n"
        "    systemctl restart sensor-agent\n"
        "Nothing was changed.\n"
    )


def test_a_dry_run_needs_no_credentials(pi, capsys):
    assert pi.setup(dry_run=True, device_id="pi-1", fake_hw=True) == 0
    said = capsys.readouterr().out
    assert said.startswith("Using the defaults: --id-scope 0ne00000000 --key-file FILE\n")

"""`sensor-agent setup` on a machine that has a configuration: only what is named changes."""

import os
import signal
from pathlib import Path

import pytest
from examinations import write
from setups import BOOT, CONNECTION, DROP_INS, GROUP_KEY, SETTINGS
from statuses import status_with

from agent.cli.setup.machine import Done
from hw import boot_config
from hw.errors import BootConfigError

CONFIG = """\
# The shed's. Ask Anna before you change it.
[device]
id = "shed" # as on the label

[cloud]
id_scope = "0ne1"
key_file = "device.key"
keep_alive = 30 # the router forgets soon

[sensor]
driver = "kernel"
pin = 4

[led]
pin = 27
"""
KEY = "b3duIGtleQ=="
LOADED = "sys/bus/iio/devices/iio:device0/name"


@pytest.fixture
def shed(pi):
    """A Pi with a service that runs."""
    pi.config(CONFIG)
    pi.secret("device.key", KEY)
    pi.path(DROP_INS).mkdir(parents=True)
    write(pi.root, "boot/firmware/config.txt", BOOT)
    write(pi.root, "boot/firmware/overlays/dht11.dtbo", "")
    boot = pi.path("boot/firmware/config.txt")
    boot.write_bytes(boot_config.with_driver(boot.read_bytes(), 4))
    write(pi.root, LOADED, "dht11@4\n")
    pi.runs()
    return pi


def test_another_pin_changes_the_line_the_overlay_and_nothing_else(shed):
    assert shed.setup(pin="17") == 0
    assert shed.text() == CONFIG.replace("pin = 4", "pin = 17")
    boot = shed.path("boot/firmware/config.txt").read_bytes()
    assert boot == boot_config.with_driver(BOOT.encode(), 17)
    assert shed.changes == [
        "dtoverlay -r dht11",
        "dtoverlay dht11 gpiopin=17",
        "systemctl daemon-reload",
        "systemctl --quiet enable sensor-agent",
        "systemctl restart sensor-agent",
    ]
    assert shed.text(f"{SETTINGS}/credentials/device.key") == f"{KEY}\n"


def test_an_overlay_that_the_firmware_loaded_stays_until_the_restart(shed, capsys):
    shed.answers["dtoverlay -r dht11"] = Done(1, "Error: Overlay 'dht11' is not loaded\n")
    assert shed.setup(pin="17") == 0
    assert "The driver for GPIO 4 stays loaded until the next restart" in capsys.readouterr().out


def test_an_overlay_of_the_owner_for_the_pin_suffices(shed):
    boot = f"{BOOT}dtoverlay=dht11,gpiopin=4\n"
    shed.path("boot/firmware/config.txt").write_text(boot)
    assert shed.setup(led_pin="5") == 0
    assert shed.path("boot/firmware/config.txt").read_text() == boot
    assert not any("dtoverlay" in command for command in shed.commands)


def test_a_line_that_1_wire_has_is_refused_and_the_daemon_goes_on(shed, capsys):
    file = shed.path("boot/firmware/config.txt")
    file.write_text(f"{BOOT}dtoverlay=w1-gpio,gpiopin=17\n")
    before = shed.files()
    assert shed.setup(pin="17") == 1
    assert capsys.readouterr().err.startswith(
        f"GPIO 17 is in use by 1-Wire: {file} has the line dtoverlay=w1-gpio,gpiopin=17. Choose "
        "another GPIO with --pin. Or, if nothing uses 1-Wire, turn it off: sudo raspi-config, "
        f"Interface Options, 1-Wire, No (or delete the line dtoverlay=w1-gpio,gpiopin=17 from "
        f"{file}), then: sudo reboot. Then repeat this command.\n"
    )
    assert shed.files() == before
    assert shed.setup(pin="4", led_pin="17") == 1
    assert "another GPIO with --led-pin." in capsys.readouterr().err


def test_another_driver_makes_the_kernel_release_the_line(shed):
    assert shed.setup(driver="dht22") == 0
    assert shed.text() == CONFIG.replace('"kernel"', '"dht22"')
    assert shed.path("boot/firmware/config.txt").read_text() == BOOT
    assert shed.changes[0] == "dtoverlay -r dht11"
    assert shed.text(f"{DROP_INS}/adafruit.conf") == "# adafruit.conf\n"
    assert shed.setup(driver="kernel") == 0
    assert shed.text() == CONFIG
    assert not shed.path(f"{DROP_INS}/adafruit.conf").exists()


def test_an_adafruit_driver_replaces_the_model_that_was_set(shed):
    assert shed.setup(driver="fake", model="dht11") == 0
    assert 'driver = "fake"\npin = 4\nmodel = "dht11"\n' in shed.text()
    assert shed.setup(driver="dht22") == 0
    assert "model" not in shed.text()


def test_a_pin_that_the_led_has_is_refused_and_the_daemon_goes_on(shed, capsys):
    before = shed.files()
    assert shed.setup(pin="27") == 78
    assert "[led] pin = 27: [sensor] pin uses that GPIO too" in capsys.readouterr().err
    assert shed.files() == before
    assert shed.changes == []


def test_without_options_and_terminal_nothing_changes(shed, capsys):
    assert shed.setup() == 0
    assert shed.text() == CONFIG
    assert shed.changes == []
    assert capsys.readouterr().out.startswith(
        "Nothing has changed. The service continues to run.\n"
    )


@pytest.mark.parametrize("name", ["config.toml", "credentials/device.key"])
def test_settings_that_are_newer_than_the_daemon_restart_it(shed, name):
    write(shed.root, "run/sensor-agent/control.sock", "")
    assert shed.setup() == 0
    assert shed.changes == []
    later = shed.path("run/sensor-agent/control.sock").stat().st_mtime + 10
    os.utime(shed.path(f"{SETTINGS}/{name}"), (later, later))
    assert shed.setup() == 0
    assert "systemctl restart sensor-agent" in shed.changes


def test_a_service_that_does_not_run_is_started(shed):
    shed.answers["systemctl is-active sensor-agent"] = [Done(3, "inactive\n"), Done(0, "active\n")]
    assert shed.setup() == 0
    assert shed.changes[-1] == "systemctl restart sensor-agent"


def test_a_connection_string_replaces_the_whole_way(shed, connection):
    assert shed.setup(connection_string_file=connection) == 0
    assert shed.text() == CONFIG.replace('id = "shed" # as on the label\n', "").replace(
        'id_scope = "0ne1"\nkey_file = "device.key"\nkeep_alive = 30 # the router forgets soon\n',
        'keep_alive = 30 # the router forgets soon\nconnection_string_file = "device.connection"\n',
    )
    assert not shed.path(f"{SETTINGS}/credentials/device.key").exists()
    assert shed.text(f"{SETTINGS}/credentials/device.connection") == f"{CONNECTION}\n"


def test_a_new_key_keeps_the_rest(shed, tmp_path):
    file = tmp_path / "new.key"
    file.write_text(KEY.replace("b", "c"))
    assert shed.setup(key_file=file) == 0
    assert shed.text() == CONFIG
    assert shed.text(f"{SETTINGS}/credentials/device.key") == KEY.replace("b", "c") + "\n"


def test_an_id_scope_alone_keeps_key_and_host(shed):
    assert shed.setup(id_scope="0ne2") == 0
    assert shed.text() == CONFIG.replace("0ne1", "0ne2")


def test_an_id_scope_with_its_key_leaves_the_authority_of_another_host(shed, group_key):
    local = CONFIG.replace(
        "keep_alive", 'provisioning_host = "192.0.2.1"\nca_file = "ca.pem"\nkeep_alive'
    )
    write(shed.root, f"{SETTINGS}/config.toml", local)
    assert shed.setup(id_scope="0ne2", group_key_file=group_key) == 0
    assert shed.text() == CONFIG.replace("0ne1", "0ne2")


def test_a_renewed_connection_string_keeps_the_authority_of_its_hub(shed, connection, ca):
    assert shed.setup(connection_string_file=connection, ca_file=ca) == 0
    assert 'ca_file = "ca.pem"\n' in shed.text()
    connection.write_text(CONNECTION.replace("c2Vj", "d2Vj"))
    assert shed.setup(connection_string_file=connection) == 0
    assert 'ca_file = "ca.pem"\n' in shed.text()
    connection.write_text(CONNECTION.replace("contoso", "fabrikam"))
    assert shed.setup(connection_string_file=connection) == 0
    assert "ca_file" not in shed.text()


def test_another_id_needs_its_own_key(shed, capsys, group_key):
    assert shed.setup(device_id="barn") == 2
    assert "--device-id needs --key-file or --group-key-file" in capsys.readouterr().err
    assert shed.setup(device_id="barn", group_key_file=group_key) == 0
    assert 'id = "barn" # as on the label\n' in shed.text()
    assert GROUP_KEY not in shed.text(f"{SETTINGS}/credentials/device.key")


def test_an_option_corrects_a_mistake_in_the_file(shed, capsys):
    write(shed.root, f"{SETTINGS}/config.toml", CONFIG.replace("pin = 4", "pin = 99"))
    assert shed.setup() == 78
    assert capsys.readouterr().err.startswith(
        "/etc/sensor-agent/config.toml: [sensor] pin = 99: must be"
    )
    assert shed.setup(led_pin="5") == 78
    assert shed.setup(pin="4") == 0
    assert shed.text() == CONFIG


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("[sensor", "not TOML"), ("sensor = {pin = 4}\n[cloud]\nid_scope = '0ne1'\n", "[sensor]")],
)
def test_a_file_that_cannot_be_changed_stays(shed, capsys, text, sentence):
    write(shed.root, f"{SETTINGS}/config.toml", text)
    assert shed.setup(pin="17") != 0
    assert sentence in capsys.readouterr().err
    assert shed.text() == text


def test_a_secret_that_is_missing_is_named_as_installed(shed, capsys):
    shed.path(f"{SETTINGS}/credentials/device.key").unlink()
    assert shed.setup() == 78
    assert capsys.readouterr().err.startswith("/etc/sensor-agent/device.key does not exist.")


def test_a_dry_run_of_another_user_does_without_the_secrets(shed, monkeypatch, capsys):
    """A member of the group sensor-agent can read the configuration, and not the credentials."""
    credentials = shed.path(f"{SETTINGS}/credentials")
    entries, content = Path.iterdir, Path.read_bytes

    def iterdir(path):
        if path == credentials:
            raise PermissionError(13, "Permission denied")
        return entries(path)

    def read_bytes(path):
        if path.resolve().parent == credentials:
            raise PermissionError(13, "Permission denied")
        return content(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    shed.is_root = False
    assert shed.setup(dry_run=True, led_pin="5") == 0
    assert capsys.readouterr().out == (
        "Writing /etc/sensor-agent/config.toml\nStarting the service\n"
        "    systemctl daemon-reload\n    systemctl --quiet enable sensor-agent\n"
        "    systemctl restart sensor-agent\nNothing was changed.\n"
    )


# What is undone.


def failed_start(pi):
    """The service does not start with new settings, and does with the old ones."""
    pi.answers["systemctl restart sensor-agent"] = [Done(1, "Job failed.\n"), Done(0)]


def test_a_service_that_worked_gets_everything_back(shed, capsys):
    before = shed.files()
    failed_start(shed)
    assert shed.setup(pin="17") == 1
    assert shed.files() == before
    assert shed.changes == [
        "dtoverlay -r dht11",
        "dtoverlay dht11 gpiopin=17",
        "systemctl daemon-reload",
        "systemctl --quiet enable sensor-agent",
        "systemctl restart sensor-agent",
        "dtoverlay -r dht11",
        "dtoverlay dht11 gpiopin=4",
        "systemctl daemon-reload",
        "systemctl restart sensor-agent",
    ]
    assert "Undoing the changes:" in capsys.readouterr().err


def test_a_boot_partition_that_is_full_leaves_the_daemon_untouched(shed, monkeypatch, capsys):
    before = shed.files()

    def fail(file, _content):
        raise BootConfigError(f"Cannot write {file}, which is unchanged: full.")

    monkeypatch.setattr(boot_config, "write", fail)
    assert shed.setup(pin="17") == 1
    assert shed.files() == before
    assert "which is unchanged: full." in capsys.readouterr().err
    assert shed.changes == []


def test_ctrl_c_after_config_txt_was_replaced_restores_it(shed, monkeypatch):
    before = shed.files()
    write_really = boot_config.write

    def interrupt(file, content):
        write_really(file, content)
        monkeypatch.setattr(boot_config, "write", write_really)
        raise KeyboardInterrupt

    monkeypatch.setattr(boot_config, "write", interrupt)
    assert shed.setup(pin="17") == 1
    assert shed.files() == before


def test_ctrl_c_undoes_and_a_second_one_does_not_interrupt_it(shed):
    before = shed.files()

    def interrupt():
        signal.raise_signal(signal.SIGINT)
        return Done(0)

    shed.answers["systemctl restart sensor-agent"] = interrupt
    assert shed.setup(pin="17") == 1
    assert shed.files() == before
    assert shed.changes[-1] == "systemctl restart sensor-agent"
    assert shed.changes.count("systemctl restart sensor-agent") == 2


def test_ctrl_c_while_the_connection_is_waited_for_undoes_nothing(shed, monkeypatch):
    shed.statuses = [status_with(cloud={"hub": None})]
    monkeypatch.setattr(shed, "_sleep", lambda _seconds: signal.raise_signal(signal.SIGINT))
    assert shed.setup(led_pin="5") == 1
    assert shed.text() == CONFIG.replace("27", "5")
    assert shed.changes.count("systemctl restart sensor-agent") == 1

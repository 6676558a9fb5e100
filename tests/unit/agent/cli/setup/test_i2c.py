"""`sensor-agent setup` with a sensor on I2C."""

import pytest
from examinations import write
from setups import BOOT, CONNECTION
from sysfs import add_bus, add_chip

from agent.cli.setup.machine import Done
from hw import boot_config

CONFIG = "boot/firmware/config.txt"


def boot_with(line):
    return (
        f"{BOOT}# begin sensor-agent\n[all]\ndtoverlay=\ndtparam=i2c_arm=on\n{line}\ndtoverlay=\n"
        "# end sensor-agent\n"
    )


def test_a_sensor_that_the_kernel_knows_is_proposed_with_its_place(pi, connection, capsys):
    add_chip(pi.path("sys"), "bme280", address=0x77)
    pi.path(CONFIG).write_text("dtparam=i2c_arm=on\ndtoverlay=i2c-sensor,bme280,addr=0x77\n")
    before = pi.path(CONFIG).read_text()
    assert pi.setup(connection_string_file=connection) == 0
    assert '[sensor]\ndriver = "kernel"\nmodel = "bme280"\naddress = 0x77\n\n[led]' in pi.text()
    out = capsys.readouterr().out
    assert "--driver kernel --model bme280 --address 0x77 --led-pin 17\n" in out
    assert pi.text(CONFIG) == before
    assert not any(command.startswith("dt") for command in pi.commands)


def test_a_sensor_that_is_chosen_is_declared_now_and_at_each_start(pi, connection, capsys):
    assert pi.setup(connection_string_file=connection, model="sht31") == 0
    assert '[sensor]\ndriver = "kernel"\nmodel = "sht31"\n\n[led]\npin = 17\n' in pi.text()
    assert pi.text(CONFIG) == boot_with("dtoverlay=i2c-sensor,sht3x")
    assert pi.changes[:2] == ["dtparam i2c_arm=on", "dtoverlay i2c-sensor sht3x"]
    assert "reboot" not in capsys.readouterr().out
    content = pi.path(CONFIG).read_bytes()
    assert boot_config.without_driver(content) == BOOT.encode()
    boot = boot_config.load(pi.root)
    assert boot is not None
    assert (boot.enables_i2c, boot.loads_chip("sht3x", 0x44, 0x44)) == (True, True)


def test_another_address_is_in_the_file_and_in_config_txt(pi, connection):
    options = {"driver": "kernel", "model": "bme280", "address": "0x77"}
    assert pi.setup(connection_string_file=connection, **options) == 0
    assert 'model = "bme280"\naddress = 0x77\n' in pi.text()
    assert pi.text(CONFIG) == boot_with("dtoverlay=i2c-sensor,bme280,addr=0x77")
    assert "dtoverlay i2c-sensor bme280 addr=0x77" in pi.commands


SHT3X = "dtoverlay=i2c-sensor,sht3x"


@pytest.mark.parametrize(
    ("owner", "added"),
    [
        ("dtparam=i2c=on\ndtoverlay=i2c-sensor,sht3x\n", None),
        ("dtparam=i2c_arm=on\ndtoverlay=i2c-sensor\ndtparam=sht3x\ndtparam=addr=0x44\n", None),
        ("dtparam=i2c_arm=on\ndtoverlay=i2c-sensor,sht3x,i2c1\n", None),
        ("dtparam=i2c_arm=on\n", SHT3X),
        ("dtparam=i2c_arm=on\ndtoverlay=i2c-sensor,sht3x,addr=0x45\n", SHT3X),
        ("[pi5]\ndtoverlay=i2c-sensor,sht3x\n", SHT3X),
        *(
            (f"dtparam=i2c_arm=on\ndtoverlay=i2c-sensor,sht3x,{bus}\n", SHT3X)
            for bus in ("i2c0", "i2c3", "i2c6", "i2c_csi_dsi", "i2c-path=/soc/i2c@1")
        ),
    ],
)
def test_what_the_owner_has_written_is_not_repeated(pi, connection, owner, added):
    pi.path(CONFIG).write_text(owner)
    assert pi.setup(connection_string_file=connection, model="sht3x") == 0
    expected = owner.encode()
    if added is not None:
        expected = boot_config.with_chip(expected, added)
    assert pi.path(CONFIG).read_bytes() == expected


def test_a_parameter_that_is_appended_later_does_not_move_the_sensor(pi, connection):
    assert pi.setup(connection_string_file=connection, model="sht3x") == 0
    with pi.path(CONFIG).open("a") as file:
        file.write("dtparam=i2c0=on\n")
    boot = boot_config.load(pi.root)
    assert boot is not None
    assert boot.loads_chip("sht3x", 0x44, 0x44)


@pytest.mark.parametrize("more", [{"model": "sht2x"}, {"model": "sht3x", "bus": "3"}])
def test_without_a_line_in_config_txt_it_is_declared_by_hand(pi, connection, capsys, more):
    assert pi.setup(connection_string_file=connection, **more) == 0
    assert pi.text(CONFIG) == BOOT
    assert "Note: this sensor has no line in config.txt. Declare it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("owner", "model"),
    [
        ("dtoverlay=i2c-sensor,bmp280", "bme280"),
        ("dtoverlay=i2c-sensor,htu21", "si7021"),
        ("dtoverlay=i2c-sensor,sht3x", "sht4x"),
        ("dtoverlay=i2c-sensor,bmp280,addr=0x76", "bme280"),
    ],
)
def test_an_address_that_the_owner_gives_to_another_sensor_is_refused(
    pi, connection, capsys, owner, model
):
    pi.path(CONFIG).write_text(f"dtparam=i2c_arm=on\n {owner}\n")
    before = pi.path(CONFIG).read_bytes()
    assert pi.setup(connection_string_file=connection, model=model) == 1
    assert f"by the line {owner} in " in capsys.readouterr().err
    assert pi.path(CONFIG).read_bytes() == before
    assert not pi.path("etc/sensor-agent/config.toml").exists()


def test_another_sensor_at_another_address_is_no_obstacle(pi, connection):
    pi.path(CONFIG).write_text("dtparam=i2c_arm=on\ndtoverlay=i2c-sensor,bmp280,addr=0x77\n")
    assert pi.setup(connection_string_file=connection, model="bme280") == 0
    assert "dtoverlay=i2c-sensor,bme280\n" in pi.text(CONFIG)


def test_another_model_at_the_same_address_needs_a_restart(pi, connection, capsys):
    assert pi.setup(connection_string_file=connection, model="htu21") == 0
    add_chip(pi.path("sys"), "htu21")
    pi.runs()
    capsys.readouterr()
    assert pi.setup(model="si7021") == 0
    assert pi.text(CONFIG) == boot_with("dtoverlay=i2c-sensor,si7020")
    out = capsys.readouterr().out
    assert "Until a restart, the kernel takes the sensor for htu21. Restart: sudo reboot" in out


def test_a_sensor_that_no_overlay_declares_keeps_its_declaration(pi, connection, capsys):
    add_chip(pi.path("sys"), "aht20", name="dht20")
    assert pi.setup(connection_string_file=connection, model="dht20") == 0
    assert pi.text(CONFIG) == BOOT
    assert "reboot" not in capsys.readouterr().out


def test_a_line_that_the_firmware_refused_is_not_a_restart_for_ever(pi, connection, capsys):
    pi.path(CONFIG).write_text("dtparam=i2c_arm=on\ndtoverlay=i2c-sensor,aht20\n")
    pi.answers["dtoverlay i2c-sensor aht20"] = Done(1, "Unknown parameter 'aht20'\n")
    assert pi.setup(connection_string_file=connection, model="aht20") == 0
    assert "the overlay i2c-sensor may be too old for the sensor" in capsys.readouterr().out


def test_a_driver_that_cannot_be_loaded_now_needs_a_restart(pi, connection, capsys):
    pi.answers["dtparam i2c_arm=on"] = Done(1, "no such parameter\n")
    assert pi.setup(connection_string_file=connection, model="sht3x") == 0
    assert "Cannot load the driver now (no such parameter). Restart" in capsys.readouterr().out


def test_a_person_is_asked_for_the_model_and_the_address(pi, typed):
    asked = typed(CONNECTION, "kernel", "sht31", "0x45", "")
    assert pi.setup() == 0
    assert [question.partition(" (")[0] for question in asked[1:]] == [
        "Sensor driver",
        "Model of the sensor",
        "I2C address of the sensor [0x44]",
        "GPIO number of the LED [17]",
    ]
    assert 'driver = "kernel"\nmodel = "sht31"\naddress = 0x45\n' in pi.text()


def test_a_person_is_proposed_the_sensor_that_the_kernel_knows(pi, typed):
    add_chip(pi.path("sys"), "sht4x", bus=3, address=0x46)
    asked = typed(CONNECTION, "", "", "", "", "")
    assert pi.setup() == 0
    assert [question.rpartition(" [")[2] for question in asked[1:]] == [
        "kernel]",
        "sht4x]",
        "3]",
        "0x46]",
        "17]",
    ]
    assert 'model = "sht4x"\nbus = 3\naddress = 0x46\n' in pi.text()


def test_a_person_who_prefers_another_sensor_gets_its_usual_address(pi, typed):
    add_chip(pi.path("sys"), "sht4x", address=0x46)
    asked = typed(CONNECTION, "", "bme280", "", "")
    assert pi.setup() == 0
    assert "I2C address of the sensor [0x76]" in asked
    assert 'model = "bme280"\naddress = 0x76\n' in pi.text()


def test_everything_may_be_asked_again_and_kept(pi, typed, connection):
    before = (
        '[cloud]\nconnection_string_file = "device.connection"\n\n'
        '[sensor]\ndriver = "kernel"\nmodel = "sht3x"\nbus = 3\naddress = 0x45\n\n[led]\npin = 17\n'
    )
    pi.config(before)
    pi.secret("device.connection", connection.read_text())
    pi.runs()
    asked = typed("", "", "", "", "")
    assert pi.setup() == 0
    assert "I2C address of the sensor [0x45]" in asked
    assert pi.text() == before


DHT = """\
[cloud]
connection_string_file = "device.connection"

[sensor]
driver = "kernel"
pin = 22
power_pin = 5
"""


@pytest.fixture
def dht(pi, connection):
    """A service with a DHT22 that setup gave to the kernel."""
    pi.config(DHT)
    pi.secret("device.connection", connection.read_text())
    pi.path(CONFIG).write_bytes(boot_config.with_driver(BOOT.encode(), 22))
    pi.runs()
    return pi


def test_a_dht_is_replaced_and_its_keys_and_its_overlay_go(dht):
    assert dht.setup(model="aht20") == 0
    assert dht.text().endswith('[sensor]\ndriver = "kernel"\nmodel = "aht20"\n')
    assert dht.text(CONFIG) == boot_with("dtoverlay=i2c-sensor,aht20")
    assert dht.setup(model="bme280", address="0x77") == 0
    assert dht.text().endswith('model = "bme280"\naddress = 0x77\n')
    assert dht.setup(model="sht4x") == 0
    assert dht.text().endswith('model = "sht4x"\n')
    write(dht.root, "boot/firmware/overlays/dht11.dtbo", "")
    assert dht.setup(model="dht11", pin="4") == 0
    assert dht.text().endswith('model = "dht11"\npin = 4\n')
    assert dht.path(CONFIG).read_bytes() == boot_config.with_driver(BOOT.encode(), 4)


def test_the_lines_of_a_sensor_that_is_replaced_are_free(dht):
    write(dht.root, "boot/firmware/overlays/dht11.dtbo", "")
    assert dht.setup(model="aht20") == 0
    assert dht.setup(model="dht11", pin="2") == 0
    assert dht.path(CONFIG).read_bytes() == boot_config.with_driver(BOOT.encode(), 2)


def test_simulated_hardware_replaces_a_sensor_on_i2c(dht):
    assert dht.setup(model="bme280", address="0x77") == 0
    assert dht.setup(fake_hw=True) == 0
    assert '[sensor]\ndriver = "fake"\n\n[led]\ndriver = "fake"\n' in dht.text()
    assert dht.text(CONFIG) == BOOT


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": "sht3x", "pin": "4"}, "is on I2C, and not on a GPIO of its own; remove pin"),
        ({"model": "sht3x", "address": "0x76"}, "has the address 0x44 or 0x45"),
        ({"model": "sht3x", "address": "here"}, '[sensor] address = "here": must be a whole'),
        ({"driver": "dht22", "address": "0x44"}, "is not on I2C; remove address"),
    ],
)
def test_a_place_that_does_not_fit_the_sensor_is_refused(pi, connection, capsys, options, sentence):
    assert pi.setup(connection_string_file=connection, **options) == 78
    assert sentence in capsys.readouterr().err
    assert pi.text(CONFIG) == BOOT


def test_a_bus_that_is_stuck_is_named(pi, connection, capsys, monkeypatch):
    add_bus(pi.path("sys"))

    def stuck(dev):
        raise TimeoutError

    monkeypatch.setattr("agent.cli.setup.interview.answering", stuck)
    assert pi.setup(connection_string_file=connection) == 0
    assert capsys.readouterr().err.startswith("I2C bus 1 is stuck, so no sensor on it can be found")


def test_an_address_that_answers_is_named_and_not_taken_for_a_model(
    pi, connection, capsys, monkeypatch
):
    add_bus(pi.path("sys"))
    monkeypatch.setattr("agent.cli.setup.interview.answering", lambda dev: [0x44])
    assert pi.setup(connection_string_file=connection) == 0
    assert 'driver = "dht22"' in pi.text()
    assert capsys.readouterr().err.startswith(
        "Something answers at address 0x44 of I2C bus 1. If it is a sensor, give --driver kernel "
        "--address 0x44 --model sht3x or sht4x."
    )

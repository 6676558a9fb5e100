import re
import tomllib
from pathlib import Path

import pytest

from agent.config import loader
from agent.config.loader import CloudConfig, Config, DeviceConfig, LedConfig, SensorConfig
from agent.config.schema import KEYS
from agent.errors import ConfigError

CLOUD = '[cloud]\nid_scope = "0ne00000000"\nkey_file = "device.key"\n'
DEVICE_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config.toml"


@pytest.fixture
def loaded(file):
    def load(text, host_name="greenhouse"):
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return loader.load(file, host_name=host_name)

    return load


@pytest.fixture
def mistakes(file, loaded):
    """The mistakes in a text, each without the file name that it starts with."""

    def load(text, host_name="greenhouse"):
        with pytest.raises(ConfigError) as caught:
            loaded(text, host_name)
        assert str(caught.value) == "\n".join(caught.value.mistakes)
        assert all(line.startswith(f"{file}: ") for line in caught.value.mistakes)
        return [line.removeprefix(f"{file}: ") for line in caught.value.mistakes]

    return load


def test_an_empty_file_gives_every_default_and_no_cloud(loaded):
    assert loaded("") == Config(device=DeviceConfig(id="greenhouse"))
    assert loaded("") == loader.default(host_name="greenhouse")


def test_values_have_the_types_of_their_keys(loaded):
    read = loaded(
        CLOUD
        + '[device]\nid = "cellar-2"\n'
        + '[sensor]\ndriver = "kernel"\nmodel = "dht11"\ninterval = 30\npower_pin = 22\n'
        + "[led]\nactive_high = false\n"
        + '[log]\nlevel = "debug"\n'
    )
    assert read.device.id == "cellar-2"
    assert read.cloud == CloudConfig(id_scope="0ne00000000", key_file=Path("device.key"))
    assert read.sensor == SensorConfig(driver="kernel", model="dht11", interval=30.0, power_pin=22)
    assert isinstance(read.sensor.interval, float)
    assert read.led == LedConfig(active_high=False)
    assert read.log.level == "debug"


def test_all_mistakes_are_reported_at_once(mistakes):
    found = mistakes(
        "[sensor]\nintervall = 60\npin = true\n"
        "[led]\npin = 28\n"
        '[outbox]\nmax_age_days = "30"\n'
        "[cluod]\n"
    )
    assert found == [
        '[sensor] intervall = 60: no such key; did you mean "interval"?',
        "[sensor] pin = true: must be a whole number from 0 to 27 (GPIO number)",
        "[led] pin = 28: must be a whole number from 0 to 27 (GPIO number)",
        '[outbox] max_age_days = "30": must be a whole number from 1 to 3650 (days)',
        '[cluod]: no such section; did you mean "cloud"?',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[sensor]\ninterval = true", "interval = true: must be a number from 5 to 86400"),
        ('[sensor]\ninterval = "60"', 'interval = "60": must be a number'),
        ("[sensor]\ninterval = nan", "interval = nan: must be a number"),
        ("[sensor]\ninterval = inf", "interval = inf: must be a number"),
        ("[sensor]\ninterval = 4.9", "interval = 4.9: must be a number from 5"),
        ("[sensor]\ninterval = 86401", "interval = 86401: must be a number"),
        ("[sensor]\ninterval = 2026-11-22", "interval = 2026-11-22: must be a number"),
        ("[sensor]\ninterval = [60]", "interval = a list: must be a number"),
        ("[sensor.interval]\nseconds = 60", "interval = a section: must be a number"),
        ('[sensor]\ndriver="fake"\ninterval = 0.04', 'with driver "fake" from 0.05'),
        ("[sensor]\npin = 4.0", "pin = 4.0: must be a whole number"),
        ("[sensor]\npin = -1", "pin = -1: must be a whole number"),
        ("[sensor]\ntemperature_offset = 51", "temperature_offset = 51: must be"),
        ('[sensor]\nunit = "Celsius"', 'did you mean "celsius"?'),
        ('[sensor]\nunit = ""', 'unit = "": must be "celsius" or "fahrenheit"'),
        ("[led]\nactive_high = 1", "active_high = 1: must be true or false"),
        ("[device]\nid = 7", "id = 7: must be 1 to 128 letters, digits, -"),
        ('[device]\nid = ""', 'id = "": must be 1 to 128'),
        ('[device]\nid = "green house"', "must be 1 to 128"),
        ('[device]\nid = "växthus"', "must be 1 to 128"),
        ('[device]\nid = "a\\n"', 'id = "a\\n": must be 1 to 128'),
        (f'[device]\nid = "{"a" * 129}"', "must be 1 to 128"),
        ("[limits]\ntemperature_low = -41", "must be a number from -40 to 125 (degrees Celsius)"),
        (
            "[limits]\nhumidity_high = nan",
            "high = nan: must be a number from 0 to 100 (%)",
        ),
        ("[limits]\nhumidity_low = true", "humidity_low = true: must be a number"),
        ('[limits]\nled = "flash"', 'must be "blink", "on" or "none"'),
        (
            "[limits]\ntemperature_low = 24\ntemperature_high = 25.0",
            "low = 24.0: must be more than 1 degree Celsius below temperature_high = 25.0",
        ),
        ("[limits]\nhumidity_low = 96", "must be more than 4 % below humidity_high = 100.0"),
        ("[limits]\ntemperature_low = 20\ntemperature_high = 200", "temperature_high = 200: must"),
        ('[log]\nlevel = "loud"', 'must be "debug", "info", "warning" or "error"'),
    ],
)
def test_a_wrong_value_is_reported_with_the_allowed_ones(mistakes, text, expected):
    [sentence] = mistakes(text)
    assert expected in sentence


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("keep_alive = 1", "from 2 to 1177"),
        ("keep_alive = 60.0", "keep_alive = 60.0: must be a whole number"),
        ("max_rate = 0", "max_rate = 0: must be a number"),
        ('transport = "amqp"', 'must be "mqtt" or "websockets"'),
        ('property_format = "plug and play"', 'did you mean "plug-and-play"?'),
        ('provisioning_host = "https://example.org"', "without scheme and port"),
        ('provisioning_host = "example.org:8883"', "without scheme and port"),
        ('provisioning_host = "-example.org"', "a host name"),
        (f'provisioning_host = "{"a." * 130}a"', "a host name"),
        ('proxy = "proxy.example.org:3128"', '"http://host:port" or'),
        ('proxy = "https://proxy.example.org:3128"', '"http://host:port" or'),
        ('proxy = "http://proxy.example.org"', '"http://host:port" or'),
        ('proxy = "http://proxy.example.org:0"', '"http://host:port" or'),
        ('proxy = "http://proxy.example.org:65536"', '"http://host:port" or'),
        ('proxy = "http://proxy.example.org:80/path"', '"http://host:port" or'),
        ('proxy_user = "anna"', "proxy_user is set without proxy"),
        ('ca_file = ""', 'ca_file = "": must be the name of a file'),
        ('ca_file = "a\\u0000b"', "must be the name of a file"),
        ("ca_file = 1", "ca_file = 1: must be the name of a file"),
    ],
)
def test_wrong_values_in_the_cloud_section_are_reported(mistakes, line, expected):
    [sentence] = mistakes(CLOUD + line)
    assert sentence.startswith("[cloud] ")
    assert expected in sentence


def test_every_valid_form_of_proxy_and_host_is_accepted(loaded):
    for proxy in ("http://10.0.0.1:3128", "socks5://proxy.example.org:1080", "http://[::1]:1/"):
        read = loaded(f'{CLOUD}proxy = "{proxy}"\nproxy_user = "a"\nproxy_password_file = "p"')
        assert read.cloud.proxy == proxy
    for host in ("localhost", "127.0.0.1", "a-b.example.org"):
        assert loaded(f'{CLOUD}provisioning_host = "{host}"').cloud.provisioning_host == host


@pytest.mark.parametrize(
    "line",
    [
        f'key_file = "{DEVICE_KEY}"',
        f'group_key_file = "{"A" * 86}=="',
        f'primary_key = "{DEVICE_KEY}"',
        f'primary_key = ["{DEVICE_KEY}"]',
        f'proxy_password = "{DEVICE_KEY}"',
        f'proxy = "http://anna:{DEVICE_KEY}@proxy.example.org:3128"',
        f'[device]\nprimary_key = "{DEVICE_KEY}"',
        f'[device]\nid = "{DEVICE_KEY}"',
        f'[cluod]\nkey = "{DEVICE_KEY}"',
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(mistakes, line):
    said = " ".join(mistakes(f'[cloud]\nid_scope = "0ne00000000"\n{line}'))
    assert DEVICE_KEY not in said
    assert "A" * 86 not in said


@pytest.mark.parametrize("name", ["key_file", "hub", "id_scope"])
@pytest.mark.parametrize("pasted", ["{}", " {}=", "'{}='", "{}= "])
def test_a_pasted_key_is_not_shown_even_if_a_part_is_missing_or_added(mistakes, name, pasted):
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    sentences = mistakes(f'[device]\nid = "pi-1"\n[cloud]\n{name} = "{pasted.format(key)}"')
    assert any(f"[cloud] {name} = ...: this is a key" in sentence for sentence in sentences)
    assert key not in str(sentences)


@pytest.mark.parametrize("path", ["/home/somebody/azure/keys/of/all/devices/pi", "~/" + "a" * 41])
def test_a_path_as_long_as_a_key_is_a_path(loaded, path):
    assert len(path) == 43
    assert loaded(f'{CLOUD}ca_file = "{path}"').cloud.ca_file == Path(path)


def test_a_secret_before_the_first_section_is_not_shown(mistakes):
    [sentence] = mistakes(f'key = "{DEVICE_KEY}"')
    assert sentence == "key = ...: is before the first section; every key belongs in a section"


def test_a_key_in_the_wrong_section_is_reported_with_the_right_one(mistakes):
    assert mistakes("interval = 60\n[device]\nid_scope = 1") == [
        "interval = ...: is before the first section; it belongs in [sensor]",
        "[device] id_scope = 1: no such key; it belongs in [cloud]",
    ]


def test_a_section_written_as_a_key_is_reported_as_such(mistakes):
    assert mistakes("sensor = 4\n[[led]]\npin = 3") == [
        "sensor = 4: this is a section; write [sensor] on a line of its own",
        "led = a list: this is a section; write [led] on a line of its own",
    ]


def test_an_unknown_name_is_reported_with_the_list_of_keys(mistakes):
    assert mistakes('[outbox]\n"x\\ny" = 1\n[zzz]') == [
        '[outbox] "x\\ny" = 1: no such key; the names are: max_age_days, max_megabytes',
        (
            "[zzz]: no such section; the names are: "
            "device, cloud, sensor, led, limits, outbox, clock, log"
        ),
    ]


@pytest.mark.parametrize(
    "lines",
    ['key_file = "a"', 'group_key_file = "a"', 'x509_cert_file = "a"\nx509_key_file = "b"'],
)
def test_each_kind_of_credential_is_enough(loaded, lines):
    assert loaded(f'[cloud]\nid_scope = "0ne1"\n{lines}').cloud is not None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", "[cloud] has no credential"),
        ('key_file = "a"\ngroup_key_file = "b"', "has key_file and group_key_file; set exactly"),
        ('x509_cert_file = "a"', "has x509_cert_file; set exactly one of"),
        ('x509_key_file = "a"', "has x509_key_file; set exactly one of"),
        ('key_file = "a"\nx509_key_file = "b"', "has key_file and x509_key_file; set exactly"),
    ],
)
def test_no_credential_or_more_than_one_is_a_mistake(mistakes, lines, expected):
    [sentence] = mistakes(f'[cloud]\nid_scope = "0ne1"\n{lines}')
    assert expected in sentence


X509 = 'x509_cert_file = "a"\nx509_key_file = "b"'
STRING = 'connection_string_file = "c"'
HUB = 'hub = "h.azure-devices.net"'
SCOPE = 'id_scope = "0ne1"'


@pytest.mark.parametrize(
    "lines",
    [STRING, f"{STRING}\n{X509}", f'{HUB}\nkey_file = "a"', f"{HUB}\n{X509}"],
)
def test_a_hub_is_reached_without_the_provisioning_service(loaded, lines):
    read = loaded(f"[cloud]\n{lines}")
    assert read.cloud.id_scope is None
    assert read.device.id == ("" if STRING in lines else "greenhouse")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            'key_file = "a"',
            "[cloud] has no way to a hub; set one of connection_string_file, hub or id_scope",
        ),
        (
            f'{HUB}\n{SCOPE}\nkey_file = "a"',
            (
                "[cloud] has hub and id_scope; set exactly one of connection_string_file, hub or "
                "id_scope"
            ),
        ),
        (
            f"{STRING}\n{HUB}\n{SCOPE}",
            (
                "[cloud] has connection_string_file and hub and id_scope; set exactly one of "
                "connection_string_file, hub or id_scope"
            ),
        ),
        (
            f'{STRING}\nkey_file = "a"',
            (
                "[cloud] has connection_string_file and key_file; the connection string has the "
                "key, so remove key_file"
            ),
        ),
        (
            f'{STRING}\ngroup_key_file = "a"',
            (
                "[cloud] has connection_string_file and group_key_file; an enrolment group "
                "needs the provisioning service, so set id_scope in place of "
                "connection_string_file, or remove group_key_file"
            ),
        ),
        (
            f'{HUB}\ngroup_key_file = "a"',
            (
                "[cloud] has hub and group_key_file; an enrolment group needs the provisioning "
                "service, so set id_scope in place of hub, or remove group_key_file"
            ),
        ),
        (
            f'{STRING}\nx509_cert_file = "a"',
            "[cloud] has x509_cert_file; set both or none of x509_cert_file and x509_key_file",
        ),
        (
            HUB,
            "[cloud] has no credential; set one of key_file, or x509_cert_file and x509_key_file",
        ),
        (
            'hub = "global.azure-devices-provisioning.net"\nkey_file = "a"',
            (
                '[cloud] hub = "global.azure-devices-provisioning.net": this is the provisioning '
                "service, not an IoT hub; set id_scope in place of hub"
            ),
        ),
        (
            'hub = "mine.AzureIoTCentral.com"\nkey_file = "a"',
            (
                '[cloud] hub = "mine.AzureIoTCentral.com": this is an IoT Central application, not '
                "an IoT hub; set id_scope in place of hub"
            ),
        ),
        (
            f'{STRING}\nprovisioning_host = "example.org"',
            (
                "[cloud] provisioning_host has no effect with connection_string_file, because no "
                "provisioning service is used; remove it"
            ),
        ),
        (
            'hub = "https://h.azure-devices.net"\nkey_file = "a"',
            (
                '[cloud] hub = "https://h.azure-devices.net": must be a host name or an IPv4 '
                "address, without scheme and port"
            ),
        ),
    ],
)
def test_a_mistake_in_the_way_to_the_hub_is_one_sentence(mistakes, lines, expected):
    assert mistakes(f"[cloud]\n{lines}") == [expected]


DPS_ID = "a.b_c:D-1"
HUB_ID = "a.b%_*?!(),:=@;$'-1"


@pytest.mark.parametrize(
    ("lines", "device_id"),
    [
        (f'{SCOPE}\nkey_file = "a"', DPS_ID),
        (f'{HUB}\nkey_file = "a"', HUB_ID),
        (STRING, HUB_ID),
    ],
)
def test_a_device_id_has_every_character_of_its_way_in(loaded, lines, device_id):
    assert loaded(f'[cloud]\n{lines}\n[device]\nid = "{device_id}"').device.id == device_id


@pytest.mark.parametrize("device_id", [HUB_ID, "a@b", "ends-with.", "a:"])
def test_an_id_that_the_provisioning_service_refuses_is_a_mistake(mistakes, device_id):
    [sentence] = mistakes(f'{CLOUD}[device]\nid = "{device_id}"')
    assert sentence == (
        f'[device] id = "{device_id}": with id_scope, it must be letters, digits, - . _ and :, and '
        "end with a letter, a digit or a hyphen"
    )


@pytest.mark.parametrize(
    "line",
    [
        f'connection_string_file = "HostName=h;DeviceId=d;SharedAccessKey={DEVICE_KEY}"',
        f'hub = "HostName=h;DeviceId=d;SharedAccessKey={DEVICE_KEY}"',
        f'key_file = "hostname=h;deviceid=d;sharedaccesskey={DEVICE_KEY}"',
    ],
)
def test_a_connection_string_in_the_configuration_is_refused_and_not_shown(mistakes, line):
    said = mistakes(f"[cloud]\n{line}")[0]
    name = line.partition(" ")[0]
    assert said == (
        f"[cloud] {name} = ...: this is a connection string, which is a secret; write it to a "
        "file, and set connection_string_file to the file's name"
    )


def test_a_connection_string_under_an_unknown_key_is_not_shown(mistakes):
    line = f'connection_string = "HostName=h;DeviceId=d;SharedAccessKey={DEVICE_KEY}"'
    assert mistakes(f"[cloud]\n{line}\n{STRING}") == [
        '[cloud] connection_string = ...: no such key; did you mean "connection_string_file"?'
    ]


@pytest.mark.parametrize(
    "name", ["raspberrypi", "RaspberryPi.local", "localhost", "DietPi", "orangepi5", "", "..", "ü"]
)
def test_the_host_name_of_an_image_is_not_a_device_id_for_the_cloud(loaded, mistakes, name):
    [sentence] = mistakes(CLOUD, name)
    assert sentence.startswith("[device] id is missing")
    assert loaded("", name).cloud is None
    assert loaded(f'{CLOUD}[device]\nid = "raspberrypi"', name).device.id == "raspberrypi"


def test_a_wrong_id_is_not_reported_as_missing_too(mistakes):
    [sentence] = mistakes(f'{CLOUD}[device]\nid = "a b"', "raspberrypi")
    assert sentence.startswith('[device] id = "a b"')


def test_the_host_name_is_reduced_to_a_device_id(loaded):
    assert loaded(CLOUD, "Annas_Pi-2.example.org").device.id == "AnnasPi-2"
    assert loaded(CLOUD, "a" * 200).device.id == "a" * 128


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[led]\npin = 4", "[led] pin = 4: [sensor] pin uses that GPIO too"),
        ("[sensor]\npower_pin = 4", "[sensor] power_pin = 4: [sensor] pin uses that GPIO too"),
        ("[sensor]\npower_pin = 17", "[led] pin = 17: [sensor] power_pin uses that GPIO too"),
    ],
)
def test_two_devices_on_one_gpio_are_a_mistake(mistakes, text, expected):
    [sentence] = mistakes(text)
    assert expected in sentence


def test_a_fake_driver_uses_no_gpio(loaded):
    assert loaded('[sensor]\ndriver = "fake"\n[led]\npin = 4').led.pin == 4


@pytest.mark.parametrize(
    ("name", "model"), [("am2302", "dht22"), ("rht03", "dht22"), ("am2301", "dht21")]
)
def test_other_names_of_a_model_are_understood(loaded, name, model):
    read = loaded(f'[sensor]\ndriver = "{name}"').sensor
    assert (read.driver, read.model) == (model, model)
    read = loaded(f'[sensor]\ndriver = "kernel"\nmodel = "{name}"').sensor
    assert (read.driver, read.model) == ("kernel", model)
    read = loaded(f'[sensor]\ndriver = "{model}"\nmodel = "{name}"').sensor
    assert (read.driver, read.model) == (model, model)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("SHT-31", 'set driver = "kernel" and model = "sht3x"'),
        ("BME 680", "is not supported"),
        ("am2320", "is not supported"),
        ("sht15", "a bus of its own"),
        ("bmp280", "no humidity"),
        ("ds18b20", "no humidity"),
        ("AM2302", 'did you mean "am2302"?'),
        ("DHT22", 'did you mean "dht22"?'),
        ("dht23", 'did you mean "dht2'),
        ("barometer", 'must be "dht22"'),
    ],
)
@pytest.mark.parametrize("key", ["driver", "model"])
def test_a_sensor_that_cannot_be_read_is_refused_with_what_can_be(mistakes, key, name, part):
    [sentence] = mistakes(f'[sensor]\n{key} = "{name}"')
    assert sentence.startswith(f'[sensor] {key} = "{name}": ')
    assert part in sentence


CHIP_MODELS = [
    ("dht20", "aht20", 0x38),
    ("sht31", "sht3x", 0x44),
    ("sht45", "sht4x", 0x44),
    ("bme280", "bme280", 0x76),
    ("hdc1080", "hdc1080", 0x40),
    ("si7021", "si7021", 0x40),
    ("htu21d", "htu21", 0x40),
    ("sht21", "sht2x", 0x40),
]


@pytest.mark.parametrize(("name", "model", "address"), CHIP_MODELS)
def test_a_sensor_on_i2c_is_read_by_the_kernel_at_its_address(
    loaded, mistakes, name, model, address
):
    read = loaded(f'[sensor]\ndriver = "kernel"\nmodel = "{name}"').sensor
    assert (read.model, read.bus, read.address) == (model, 1, address)
    [sentence] = mistakes(f'[sensor]\ndriver = "{name}"')
    assert sentence == (
        f'[sensor] driver = "{name}": the kernel reads this sensor: set driver = "kernel" and '
        f'model = "{model}"'
    )


def test_a_sensor_on_i2c_may_be_elsewhere(loaded):
    text = '[sensor]\ndriver = "kernel"\nmodel = "bme280"\nbus = 3\naddress = 0x77'
    read = loaded(f"{text}\n[led]\npin = 2").sensor
    assert (read.bus, read.address) == (3, 0x77)
    assert loader.with_fake_hardware(loaded(text)).sensor.model == "dht22"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'driver = "kernel"\nmodel = "sht3x"\npin = 4',
            (
                '[sensor] pin = 4: the sensor of model = "sht3x" is on I2C, and not on a GPIO of '
                "its own; remove pin"
            ),
        ),
        (
            'driver = "kernel"\nmodel = "sht3x"\npower_pin = 5',
            (
                '[sensor] power_pin = 5: the sensor of model = "sht3x" is on I2C, and not on a '
                "GPIO of its own; remove power_pin"
            ),
        ),
        (
            'driver = "kernel"\naddress = 0x44',
            '[sensor] address = 68: the sensor of model = "dht22" is not on I2C; remove address',
        ),
        (
            'driver = "dht11"\nbus = 1',
            '[sensor] bus = 1: the sensor of driver = "dht11" is not on I2C; remove bus',
        ),
        (
            'driver = "fake"\nbus = 1',
            '[sensor] bus = 1: the sensor of driver = "fake" is not on I2C; remove bus',
        ),
        (
            'driver = "kernel"\nmodel = "sht4x"\naddress = 0x76',
            (
                '[sensor] address = 0x76: the sensor of model = "sht4x" has the address 0x44, '
                "0x45 or 0x46"
            ),
        ),
        (
            'driver = "kernel"\nmodel = "si7021"\naddress = 200',
            "[sensor] address = 200: must be a whole number from 0x08 to 0x77 (I2C address)",
        ),
        (
            'driver = "fake"\nmodel = "sht4x"',
            (
                '[sensor] model = "sht4x": driver = "fake" simulates only a DHT; remove model, or '
                'set driver = "kernel"'
            ),
        ),
        (
            'driver = "dht22"\nmodel = "sht31"',
            (
                '[sensor] model = "sht3x": driver = "dht22" is for a "dht22"; remove model, or set '
                'driver = "kernel"'
            ),
        ),
        (
            'driver = "kernel"\nmodel = "sht3x"\n[led]\npin = 3',
            "[led] pin = 3: I2C bus 1 uses that GPIO too; set another one",
        ),
    ],
)
def test_a_sensor_has_a_pin_or_a_bus_and_an_address(mistakes, text, sentence):
    assert mistakes(f"[sensor]\n{text}") == [sentence]


def test_the_driver_adafruit_is_named_by_its_model(mistakes):
    [sentence] = mistakes('[sensor]\ndriver = "adafruit"')
    assert 'write the model: "dht22", "dht21" or "dht11"' in sentence


def test_a_driver_that_names_its_model_sets_it(loaded, mistakes):
    assert loaded('[sensor]\ndriver = "dht11"').sensor.model == "dht11"
    assert loaded('[sensor]\ndriver = "dht11"\nmodel = "dht11"').sensor.model == "dht11"
    [sentence] = mistakes('[sensor]\ndriver = "dht11"\nmodel = "dht22"')
    assert sentence.startswith('[sensor] model = "dht22": driver = "dht11" is for a "dht11"')


def test_fake_hardware_changes_the_drivers_and_nothing_else(loaded):
    read = loaded(CLOUD + '[sensor]\ndriver = "dht11"\n[led]\npin = 5')
    fake = loader.with_fake_hardware(read)
    assert (fake.sensor.driver, fake.sensor.model, fake.led.driver) == ("fake", "dht11", "fake")
    assert (fake.cloud, fake.led.pin) == (read.cloud, 5)


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(loaded):
    assert loaded(b"\xef\xbb\xbf[sensor]\r\npin = 5\r\n").sensor.pin == 5


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"[sensor\npin = 4", "not TOML: Expected ']'"),
        (b"[led]\npin = 1\npin = 2\n", "not TOML: Cannot overwrite a value (at line 3"),
        (b"[led]\n\xffpin = 1", "not UTF-8 text (line 2). Save it as UTF-8."),
        ("[led]\npin = 1".encode("utf-16"), "not UTF-8 text (line 1)"),
        (b"a = " + b"[" * 100_000, "not TOML: nested too deeply."),
        (b"a = " + b"1" * 5000, "not TOML: "),
        (b"#" * 1_000_001, "too large: a configuration has at most 1 MB"),
    ],
)
def test_a_file_that_is_not_toml_is_reported_in_one_sentence(mistakes, raw, expected):
    [sentence] = mistakes(raw)
    assert expected in sentence


def test_a_number_too_large_to_convert_is_refused(mistakes):
    [sentence] = mistakes("[sensor]\ninterval = 0x" + "f" * 5000)
    assert sentence.startswith("[sensor] interval = a very large number: must be")


def test_a_missing_file_a_directory_and_an_impossible_name_are_refused(tmp_path, file):
    with pytest.raises(ConfigError, match="there is no such file"):
        loader.load(file)
    with pytest.raises(ConfigError, match="is a directory"):
        loader.load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        loader.load(Path("/dev/null/config.toml"))
    with pytest.raises(ConfigError, match=r"cannot be read: .*null"):
        loader.load(Path("a\0b"))


def test_the_example_loads_as_the_defaults(loaded):
    assert loaded(loader.example()) == loader.default(host_name="greenhouse")


def test_the_example_has_every_key_and_sets_only_defaults():
    text = loader.example()
    for section, keys in KEYS.items():
        assert f"[{section}]\n" in text
        for key in keys.values():
            assert re.search(rf"^#?{key.name} = ", text, re.MULTILINE), key.name
    for section, values in tomllib.loads(text).items():
        for name, value in values.items():
            assert value == KEYS[section][name].default


def test_the_cloud_section_of_the_example_loads_when_uncommented(loaded):
    lines = loader.example().splitlines()
    wanted = re.compile(r"#(\[cloud\]|id_scope|key_file|transport|proxy|keep_alive|max_rate)")
    text = "\n".join(line.removeprefix("#") if wanted.match(line) else line for line in lines)
    cloud = loaded(text).cloud
    assert cloud is not None
    assert cloud.key_file == Path("device.key")
    assert cloud.proxy == "http://proxy.example.org:3128"


def test_each_optional_setting_of_the_example_loads_when_uncommented(loaded):
    for keys in KEYS.values():
        for key in keys.values():
            if key.section == "cloud" or key.rule.example is None:
                continue
            assert f"#{key.name} = " in loader.example()
            shown = re.search(rf"^#({key.name} = .*)$", loader.example(), re.MULTILINE)
            assert shown
            on_i2c = 'driver = "kernel"\nmodel = "bme280"' if key.name in {"bus", "address"} else ""
            loaded(f"[{key.section}]\n{on_i2c}\n{shown[1]}")


def test_the_reference_has_a_row_for_every_key():
    rows = loader.reference().splitlines()
    for key in (key for keys in KEYS.values() for key in keys.values()):
        assert any(row.startswith(f"| `{key.name}` |") and key.rule.help in row for row in rows)

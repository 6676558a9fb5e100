"""The models of sensors that can be read: what each measures, and how the kernel reads it.

A DHT is on a GPIO line of its own. The others are on I2C, where only the kernel's drivers read
them. Sources for these: Linux 6.12, https://github.com/torvalds/linux/tree/v6.12/drivers (iio and
hwmon), and the data sheets named at each model.
"""

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from hw.contracts import Reading

HOUR = 3600.0  # Seconds.

BUS, BUS_PINS = 1, (2, 3)
"""The I2C bus on a Raspberry Pi's header, and the GPIOs of its SDA and SCL."""


BROKEN = "Its humidity element is probably broken: replace the sensor."


class Values(NamedTuple):
    """The files of a kernel's driver: in which directories, and how they are called."""

    directory: str
    temperature: str
    humidity: str


HWMON = Values("hwmon/hwmon*", "temp1", "humidity1")
IIO = Values("iio:device*", "in_temp", "in_humidityrelative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A sensor on I2C as the kernel knows it."""

    driver: str
    """As in /sys/bus/i2c/drivers. The module has the same name, if `module` is empty."""

    names: tuple[str, ...]
    """What the device may be declared as. The first is for `new_device`."""

    by_hand: frozenset[str] = frozenset()
    """Those of `names` that no overlay declares."""

    newer: Mapping[str, str] = field(default_factory=dict)
    """Those of `names` that older kernels do not know, each with a remark on that."""

    addresses: tuple[int, ...]
    """Where it can be. The first is the default, here and in Raspberry Pi OS's overlay."""

    values: Values

    form: Literal["input", "raw"] = "input"
    """`input` is in thousandths of a degree or percent; (`raw` + `offset`) * `scale` is, too."""

    spacing: float
    """Seconds, longer than the driver repeats its last values."""

    checksum: int | None = None
    """The error of an answer with a wrong checksum. None: the driver does not check it."""

    overlay: str | None
    """The parameter of the overlay i2c-sensor of Raspberry Pi OS. None: it has none."""

    module: str = ""

    heater: str = ""
    """The file that is not 0 while the sensor's heater is on."""

    heats_briefly: bool = False
    """Whether the heater turns itself off, within about a second, and cannot be turned off."""

    wraps_humidity: bool = False
    """Whether the driver makes 100 % of each humidity below 0 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a model can measure: values outside this range are not true."""

    title: str
    """For people, with the parts that are read in the same way."""

    coldest: float  # Degrees Celsius.
    hottest: float
    driest: float  # Percent relative humidity.
    wettest: float

    still: float
    """Seconds for which it may repeat its values to the last digit: see `Steadiness`."""

    ghosts: tuple[Reading, ...] = ()
    """Values that are in the range, and only sent by damaged sensors."""

    dry_advice: str = BROKEN
    """What to do about a humidity below `driest`."""

    chip: Chip | None = None
    """None: a DHT, on a GPIO line."""

    @property
    def saturated(self) -> float:
        """The humidity from which the scale ends: most DHT22 send at most 99.9 %."""
        return min(100.0, self.wettest) - 0.1

    @property
    def answers_previous(self) -> bool:
        """Whether an attempt returns the conversion that the previous attempt started."""
        return self.chip is None

    @property
    def wraps_humidity(self) -> bool:
        """Whether 100 % may be a humidity below 0 %."""
        return self.chip is not None and self.chip.wraps_humidity

    @property
    def is_checked(self) -> bool:
        """Whether a value that was damaged on the wire is recognized by a checksum."""
        return self.chip is None or self.chip.checksum is not None


GHOST = Reading(0.0, 2.0)
"""A frame with a valid checksum that is always wrong: damaged sensors, and those that are read too
often, send it. ESPHome refuses it, too:
https://github.com/esphome/esphome/blob/dev/esphome/components/dht/dht.cpp"""


DHT22 = Model(
    title="DHT22 (AM2302)",
    coldest=-40.0,
    hottest=80.0,
    driest=2.0,
    wettest=100.0,
    still=6 * HOUR,
    ghosts=(GHOST,),
)

DHTS: Mapping[str, Model] = {
    "dht22": DHT22,
    "dht21": replace(DHT22, title="DHT21 (AM2301)"),
    "dht11": replace(
        DHT22,
        title="DHT11",
        coldest=-20.0,
        hottest=60.0,
        driest=5.0,
        wettest=95.0,
        still=24 * HOUR,
    ),
}
"""The models on a GPIO line, by name.

Source: Aosong's data sheets. The DHT11's current one (-20..60 degrees, 5..95 %) is wider than its
old one (0..50, 20..90), and both parts are in use. A DHT22's humidity begins at 0 % in its data
sheet, with an accuracy of 2 to 5 %. Real air is hardly ever that dry (a drying cabinet has about
6 %), but broken humidity elements report 0 to 1.9 % for months, with a true temperature:
https://github.com/opendata-stuttgart/sensors-software/issues/432,
https://github.com/kizniche/Mycodo/issues/669, https://github.com/esphome/esphome/issues/10194.

A DHT11 sends whole percent, and often whole degrees, so it repeats its values for longer.
"""


def _on_i2c(
    title: str,
    chip: Chip,
    *,
    temperature: tuple[float, float],
    humidity: tuple[float, float] = (0.1, 100.0),
    dry_advice: str = BROKEN,
) -> Model:
    coldest, hottest = temperature
    driest, wettest = humidity
    return Model(
        title=title,
        coldest=coldest,
        hottest=hottest,
        driest=driest,
        wettest=wettest,
        still=HOUR,
        dry_advice=dry_advice,
        chip=chip,
    )


OVERSHOOT = (-4.0, 106.0)
"""Percent. The formula of these sensors reaches from -6 to 119 %, and SHT4x's data sheet says to
cut off values that are a little outside 0..100 %. The policy does so. Words of zeros and of ones
are further outside. Si7021 and HTU21 have the same formula, but their drivers cut off the values.
"""

CHIPS: Mapping[str, Model] = {
    # Sensirion, SHT20/SHT21/SHT25: -40..125 degrees. Zeros are -46.85 degrees, ones 128.9.
    "sht2x": _on_i2c(
        "SHT2x (SHT20, SHT21, SHT25)",
        Chip(
            driver="sht21",
            names=("sht21", "sht20", "sht25"),
            newer=dict.fromkeys(("sht20", "sht25"), "each one knows sht21"),
            addresses=(0x40,),
            values=HWMON,
            spacing=1.0,  # The driver repeats its values for 0.5 s.
            overlay=None,
        ),
        temperature=(-40.0, 125.0),
        humidity=OVERSHOOT,
    ),
    # Sensirion, SHT3x-DIS: -40..125 degrees, 0..100 %. Zeros are -45 degrees, ones 130.
    "sht3x": _on_i2c(
        "SHT3x (SHT30, SHT31, SHT35)",
        Chip(
            driver="sht3x",
            names=("sht3x",),
            addresses=(0x44, 0x45),
            values=HWMON,
            spacing=2.1,  # It repeats nothing; in its periodic mode, for 2 s at most.
            overlay="sht3x",
            heater="heater_enable",
        ),
        temperature=(-40.0, 125.0),
    ),
    # Sensirion, SHT4x: -40..125 degrees. Zeros and ones do not match their checksum.
    "sht4x": _on_i2c(
        "SHT4x (SHT40, SHT41, SHT45)",
        Chip(
            driver="sht4x",
            names=("sht4x",),
            addresses=(0x44, 0x45, 0x46),
            values=HWMON,
            spacing=2.1,  # The driver repeats its values for 2 s.
            checksum=errno.EIO,
            overlay="sht4x",
            heater="heater_enable",  # Since Linux 6.13.
            heats_briefly=True,
        ),
        temperature=(-40.0, 125.0),
        humidity=OVERSHOOT,
    ),
    # Aosong, AHT10: -40..85 degrees, 0..100 %. Zeros are -50 degrees and 0 %, ones 150 and 100 %.
    "aht10": _on_i2c(
        "AHT10",
        Chip(
            driver="aht10",
            names=("aht10",),
            addresses=(0x38,),
            values=HWMON,
            spacing=2.1,  # The driver repeats its values for 2 s.
            overlay="aht10",
        ),
        temperature=(-40.0, 85.0),
    ),
    # Aosong, AHT20 and DHT20: the same, with a checksum.
    "aht20": _on_i2c(
        "AHT20 (DHT20)",
        Chip(
            driver="aht10",
            names=("aht20", "dht20"),
            by_hand=frozenset({"dht20"}),
            newer={
                "aht20": "it came with Linux 6.5",
                "dht20": "it came with Linux 6.16, and 6.12.117",
            },
            addresses=(0x38,),
            values=HWMON,
            spacing=2.1,
            checksum=errno.EIO,
            overlay="aht20",
        ),
        temperature=(-40.0, 85.0),
    ),
    # Bosch, BME280: -40..85 degrees, 0..100 %. It has no checksum. Ones are about 188 degrees. A
    # measurement that was skipped (0x80000), as after a loss of power, is an error in the driver.
    "bme280": _on_i2c(
        "BME280",
        Chip(
            driver="bmp280",
            module="bmp280-i2c",
            names=("bme280",),
            addresses=(0x76, 0x77),
            values=IIO,
            spacing=1.0,
            overlay="bme280",
        ),
        temperature=(-40.0, 85.0),
        dry_advice="If it is a BMP280, it measures no humidity; otherwise its humidity element is "
        "broken: replace the sensor.",
    ),
    # Texas Instruments, HDC1080: -40..125 degrees, 0..100 %. A word of zeros is -40 degrees or
    # 0 %, of ones 125 degrees or 100 %, so the ends of the temperature are left out.
    "hdc1080": _on_i2c(
        "HDC10xx (HDC1000, HDC1008, HDC1010, HDC1050, HDC1080)",
        Chip(
            driver="hdc100x",
            names=("hdc1080", "hdc1000", "hdc1008", "hdc1010", "hdc1050", "hdc100x"),
            addresses=(0x40, 0x41, 0x42, 0x43),
            values=IIO,
            form="raw",
            spacing=1.0,
            overlay="hdc100x",
            heater="out_current_heater_raw",
        ),
        temperature=(-39.9, 124.9),
    ),
    # Silicon Labs, Si7021-A20: -40..125 degrees. Zeros are -46.85 degrees and 0 %, ones 128.9
    # degrees and 100 %, since the driver cuts off the humidity.
    "si7021": _on_i2c(
        "Si7021 (Si7013, Si7020)",
        Chip(
            driver="si7020",
            names=("si7020", "th06"),
            addresses=(0x40,),
            values=IIO,
            form="raw",
            spacing=1.0,
            overlay="si7020",
            heater="heater_enable",  # in_current_heater_raw is its power, also while it is off.
        ),
        temperature=(-40.0, 125.0),
    ),
    # Measurement Specialties (TE), HTU21D(F): -40..125 degrees. Zeros match their checksum, and are
    # -46.85 degrees. The driver has no sign for a humidity below 0 %, and cuts off at 100 %.
    "htu21": _on_i2c(
        "HTU21",
        Chip(
            driver="htu21",
            names=("htu21",),
            addresses=(0x40,),
            values=IIO,
            spacing=1.0,
            checksum=errno.ENODEV,
            overlay="htu21",
            heater="heater_enable",
            wraps_humidity=True,
        ),
        temperature=(-40.0, 125.0),
    ),
}
"""The models on I2C, by name.

Where a word of zeros means 0 %, such a humidity is refused: air is not that dry, and a humidity
element that has failed reports it. They resolve hundredths, so in one hour the last digit changes.
"""

OVERLAY_ADDRESSES: Mapping[str, int] = {
    **{
        known.chip.overlay: known.chip.addresses[0]
        for known in CHIPS.values()
        if known.chip is not None and known.chip.overlay is not None
    },
    **dict.fromkeys(("bme680", "bmp280", "bmp380"), 0x76),
    **dict.fromkeys(("bmp085", "bmp180"), 0x77),
    "hdc3020": 0x44,
}
"""The parameters of the overlay i2c-sensor for sensors at the addresses of `CHIPS`, with their
default addresses: https://github.com/raspberrypi/firmware/blob/master/boot/overlays/README"""

MODELS: Mapping[str, Model] = {**DHTS, **CHIPS}

DHT_SYNONYMS = {"am2302": "dht22", "rht03": "dht22", "am2301": "dht21"}
SYNONYMS = {
    **DHT_SYNONYMS,
    **dict.fromkeys(("sht20", "sht21", "sht25"), "sht2x"),
    **dict.fromkeys(("sht30", "sht31", "sht35"), "sht3x"),
    **dict.fromkeys(("sht40", "sht41", "sht45"), "sht4x"),
    "dht20": "aht20",
    **dict.fromkeys(("hdc1000", "hdc1008", "hdc1010", "hdc1050"), "hdc1080"),
    **dict.fromkeys(("si7013", "si7020"), "si7021"),
    **dict.fromkeys(("htu21d", "htu21df"), "htu21"),
}
"""Other names of models."""

READABLE = "DHT22, SHT31 or BME280, for example"

OTHERS = (
    (
        r"dht12|aht[23]1|aht15|am2320|am2315|shtc\d|bme68\d|hdc[23]\d{3}|hts221|htu31d?|hs300\d",
        f"this sensor is not supported; use a {READABLE}",
    ),
    (r"sht[17]\d", f"this sensor has a bus of its own, which is not supported; use a {READABLE}"),
    (r"bmp\d{3}|ds18[bs]?20|tmp\d+|lm75", f"this sensor measures no humidity; use a {READABLE}"),
    ("adafruit", 'for Adafruit\'s driver, write the model: "dht22", "dht21" or "dht11"'),
)
"""What people write for a driver or a model that there is not, and what to tell them."""


def advice(name: str) -> str | None:
    """Return why no driver and no model has this name, and what to use instead, if known."""
    plain = re.sub(r"[-_ ]", "", name.lower())
    model = SYNONYMS.get(plain, plain)
    if model in CHIPS:
        return f'the kernel reads this sensor: set driver = "kernel" and model = "{model}"'
    return next((advice for names, advice in OTHERS if re.fullmatch(names, plain)), None)

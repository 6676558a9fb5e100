"""The models of sensors that can be read, what each can measure, and what people call them."""

import re
from typing import NamedTuple

HOUR = 3600.0  # Seconds.


class Model(NamedTuple):
    """What a model can measure: values outside this range are not true."""

    coldest: float  # Degrees Celsius.
    hottest: float
    driest: float  # Percent relative humidity.
    wettest: float
    still: float
    """Seconds for which it may repeat its values to the last digit: see `Steadiness`."""

    @property
    def saturated(self) -> float:
        """The humidity from which the scale ends: most DHT22 send at most 99.9 %."""
        return self.wettest - 0.1


DHT22 = Model(-40.0, 80.0, 2.0, 100.0, still=6 * HOUR)

MODELS = {"dht22": DHT22, "dht21": DHT22, "dht11": Model(-20.0, 60.0, 5.0, 95.0, still=24 * HOUR)}
"""The models by name.

Source: Aosong's data sheets. The DHT11's current one (-20..60 degrees, 5..95 %) is wider than its
old one (0..50, 20..90), and both parts are in use. A DHT22's humidity begins at 0 % in its data
sheet, with an accuracy of 2 to 5 %. Real air is hardly ever that dry (a drying cabinet has about
6 %), but broken humidity elements report 0 to 1.9 % for months, with a true temperature:
https://github.com/opendata-stuttgart/sensors-software/issues/432,
https://github.com/kizniche/Mycodo/issues/669, https://github.com/esphome/esphome/issues/10194.

A DHT11 sends whole percent, and often whole degrees, so it repeats its values for longer.
"""

SYNONYMS = {"am2302": "dht22", "rht03": "dht22", "am2301": "dht21"}
"""Other names of models."""

READABLE = "DHT22 (AM2302), DHT21 (AM2301) or DHT11"

OTHERS = (
    (
        r"dht12|dht20|aht\d\d|am23[12]\d|sht[234]\d|shtc\d|bme\d80|hdc\d{4}|htu\d\d|hts221|si70\d\d|hs300\d",
        f"this sensor is read over I2C, which this program cannot do yet; use a {READABLE}",
    ),
    (r"sht[17]\d", f"this sensor has a bus of its own, which is not supported; use a {READABLE}"),
    (r"bmp\d{3}|ds18[bs]?20|tmp\d+|lm75", f"this sensor measures no humidity; use a {READABLE}"),
    ("adafruit", 'for Adafruit\'s driver, write the model: "dht22", "dht21" or "dht11"'),
)
"""What people write for a driver or a model that there is not, and what to tell them."""


def advice(name: str) -> str | None:
    """Return why no driver and no model has this name, and what to use instead, if known."""
    plain = re.sub(r"[-_ ]", "", name.lower())
    return next((advice for names, advice in OTHERS if re.fullmatch(names, plain)), None)

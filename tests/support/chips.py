"""What sensors on I2C send for a temperature and a humidity, by their data sheets.

`tell` has the simulated bus of the virtual machine (tests/system/kernel/i2csim.c) answer so.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TELL = Path("/sys/module/i2csim/parameters/tell")
BUS = Path("/sys/bus/i2c/devices/i2c-1")

Answers = Mapping[str, bytes]
"""The bytes to read after each command, which is in hexadecimal."""


def crc8(data: bytes, start: int) -> int:
    """Return the checksum of Sensirion (start 0xFF) and of TE (start 0): polynomial 0x31."""
    crc = start
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def word(value: float, *, mask: int = 0xFFFF) -> bytes:
    return (min(0xFFFF, max(0, round(value))) & mask).to_bytes(2, "big")


def checked(data: bytes, start: int = 0xFF) -> bytes:
    return data + bytes([crc8(data, start)])


def sht3x(temperature: float, humidity: float) -> Answers:
    words = word((temperature + 45) / 175 * 65535), word(humidity / 100 * 65535)
    # F32D is the status, whose bit 13 says that the heater is on.
    return {"2400": b"".join(map(checked, words)), "F32D": checked(bytes(2))}


def sht4x(temperature: float, humidity: float) -> Answers:
    words = word((temperature + 45) / 175 * 65535), word((humidity + 6) / 125 * 65535)
    return {"FD": b"".join(map(checked, words))}


def _older(temperature: float, humidity: float) -> tuple[bytes, bytes]:
    """Return the words of SHT2x, Si7021 and HTU21, whose two lowest bits are a status."""
    return (
        word((temperature + 46.85) / 175.72 * 65536, mask=0xFFFC),
        word((humidity + 6) / 125 * 65536, mask=0xFFFC),
    )


def sht2x(temperature: float, humidity: float) -> Answers:
    return dict(zip(("E3", "E5"), map(checked, _older(temperature, humidity)), strict=True))


def htu21(temperature: float, humidity: float) -> Answers:
    first, second = _older(temperature, humidity)
    serial = {"FA0F": bytes(8), "FCC9": bytes(6)}  # Zeros, whose checksums are zero.
    # E7 is the user register, whose bit 2 says that the heater is on.
    return {"F3": checked(first, 0), "F5": checked(second, 0), "E7": b"\x02", **serial}


def hdc1080(temperature: float, humidity: float) -> Answers:
    words = word((temperature + 40) / 165 * 65536), word(humidity / 100 * 65536)
    return dict(zip(("00", "01"), words, strict=True))


def aht10(temperature: float, humidity: float) -> Answers:
    raw = round(humidity / 100 * 2**20) << 20 | round((temperature + 50) / 200 * 2**20)
    return {"E12800": b"\x18", "AC3300": b"\x18" + raw.to_bytes(5, "big")}


T1, T2, T3 = 27504, 26435, -1000  # The example of Bosch's data sheet.
H1, H2, H3, H4, H5, H6 = 75, 362, 0, 315, 50, 30


def bme280(temperature: float, humidity: float) -> Answers:
    """Find the raw values by the data sheet's formula in floating point (section 4.2.3)."""

    def fine(raw: float) -> float:
        linear = (raw / 16384 - T1 / 1024) * T2
        return linear + (raw / 131072 - T1 / 8192) ** 2 * T3

    def relative(raw: float) -> float:
        var = 5120 * temperature - 76800
        factor = H2 / 65536 * (1 + H6 / 67108864 * var * (1 + H3 / 67108864 * var))
        wet = (raw - (H4 * 64 + H5 / 16384 * var)) * factor
        return wet * (1 - H1 * wet / 524288)

    raw_temperature = _inverse(fine, 5120 * temperature, 2**20)
    raw_humidity = _inverse(relative, humidity, 2**16)
    return _registers(0x60, raw_temperature, raw_humidity)


def _inverse(function: Callable[[float], float], wanted: float, end: int) -> int:
    return min(range(0, end, max(1, end // 2**16)), key=lambda raw: abs(function(raw) - wanted))


def _registers(chip_id: int, raw_temperature: int, raw_humidity: int) -> Answers:
    def little(*values: int) -> bytes:
        return b"".join((value & 0xFFFF).to_bytes(2, "little") for value in values)

    pressure = little(36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
    last = bytes([H3, H4 >> 4, H4 & 15 | (H5 & 15) << 4, H5 >> 4, H6])
    raw = (415148 << 4).to_bytes(3, "big") + (raw_temperature << 4).to_bytes(3, "big")
    return {
        "88": little(T1, T2, T3) + pressure + bytes([0, H1]),
        "D0": bytes([chip_id]),
        "E1": little(H2) + last,
        "F2": bytes(5),
        "F7": raw + raw_humidity.to_bytes(2, "big"),
    }


CHIPS: Mapping[str, Callable[[float, float], Answers]] = {
    "sht2x": sht2x,
    "sht3x": sht3x,
    "sht4x": sht4x,
    "aht10": aht10,
    "bme280": bme280,
    "hdc1080": hdc1080,
    "si7021": sht2x,  # The driver does not read the checksum.
    "htu21": htu21,
}

SKIPPED = _registers(0x60, 0x80000, 0x8000)
BMP280 = {**_registers(0x58, 519888, 0), "E1": bytes(7), "A1": bytes(1)}
MEASURED = {
    "sht2x": ("E3", "E5"),
    "sht3x": ("2400",),
    "sht4x": ("FD",),
    "aht10": ("AC3300",),
    "bme280": ("F7",),
    "hdc1080": ("00", "01"),
    "si7021": ("E3", "E5"),
    "htu21": ("F3", "F5"),
}
"""The commands whose answers have the values."""


def tell(address: int, answers: Answers) -> None:
    for command, answer in answers.items():
        TELL.write_text(f"{address:x} {command} {answer.hex()}\n")


def unplug(address: int) -> None:
    TELL.write_text(f"{address:x}\n")


def stuck(model: str, level: int) -> Answers:
    """Return the answers of a bus that is at this level, while the chip can still be found."""
    return {command: bytes([level]) * 8 for command in MEASURED[model]}


def with_wrong_checksums(model: str, temperature: float, humidity: float) -> Answers:
    return {
        command: bytes([*answer[:-1], answer[-1] ^ 1]) if command in MEASURED[model] else answer
        for command, answer in CHIPS[model](temperature, humidity).items()
    }


@contextmanager
def declared(name: str, address: int) -> Iterator[None]:
    (BUS / "new_device").write_text(f"{name} 0x{address:x}")
    try:
        yield
    finally:
        (BUS / "delete_device").write_text(f"0x{address:x}")

"""What the firmware makes of config.txt: the overlays it loads, and the GPIO lines they use.

A pure parser. It knows what the documentation and the firmware's authors say about the file:

 - Filters in brackets. Those of one kind replace each other, those of different kinds add up,
   `[all]` removes them all, and `[none]` stays until then. An undefined filter changes nothing.
 - `dtparam` belongs to the overlay before it, and otherwise to the board.
 - `include` inserts a file. A line is cut after 98 characters.
 - A comment is a line of its own: `dtoverlay=dht11 # shed` loads nothing, since no overlay has that
   name. In the value of a parameter, such a rest is ignored.

A line that the firmware may or may not accept counts as not accepted. Sources:
https://www.raspberrypi.com/documentation/computers/config_txt.html
https://www.raspberrypi.com/documentation/computers/configuration.html#part3
https://github.com/raspberrypi/firmware/issues/1839 (undefined filters)
https://github.com/bluerobotics/BlueOS/issues/4488 (comments behind an overlay)
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from hw.overlay_lines import exists, fixed_lines

FILTERS = {
    "none": r"none",
    "tryboot": r"tryboot",
    "model": r"(?:pi|cm)[0-9]+[a-z]*\+?|board-type=.*",
    "serial": r"0x[0-9a-fA-F]+",
    "EDID": r"EDID=.*",
    "gpio": r"gpio[0-9]+=[01]",
    "expression": r"(?:boot_partition|partition|boot_count|boot_arg1|bootvar\d|cust_otp\d)[=&<>].*",
}
"""The filters by kind. `[HDMI:0]` is missing, because it concerns only settings of displays."""

LONGEST_LINE = 98
DEEPEST = 8  # Files that include each other.

DRIVER = "dht11"
BOARD = ""  # The overlay name of parameters that belong to the board itself.

LINES_OF_OVERLAY: Mapping[str, Mapping[str, int]] = {
    DRIVER: {"gpiopin": 4},
    "gpio-charger": {"gpio": 4},
    "gpio-fan": {"gpiopin": 12},
    "gpio-hog": {"gpio": 26},
    "gpio-ir": {"gpio_pin": 18},
    "gpio-ir-tx": {"gpio_pin": 18},
    "gpio-key": {"gpio": 3},
    "gpio-led": {"gpio": 4},
    "gpio-poweroff": {"gpiopin": 26},
    "gpio-shutdown": {"gpio_pin": 3},
    "i2c-gpio": {"i2c_gpio_sda": 23, "i2c_gpio_scl": 24},
    "pps-gpio": {"gpiopin": 18},
    "pwm-gpio-fan": {"fan_gpio": 18},
    "rotary-encoder": {"pin_a": 4, "pin_b": 17},
    "spi0-1cs": {"cs0_pin": 8},
    "spi0-2cs": {"cs0_pin": 8, "cs1_pin": 7},
    "spi1-1cs": {"cs0_pin": 18},
    "spi1-2cs": {"cs0_pin": 18, "cs1_pin": 17},
    "spi1-3cs": {"cs0_pin": 18, "cs1_pin": 17, "cs2_pin": 16},
    "spi3-1cs": {"cs0_pin": 0},
    "spi3-2cs": {"cs0_pin": 0, "cs1_pin": 24},
    "spi4-1cs": {"cs0_pin": 4},
    "spi4-2cs": {"cs0_pin": 4, "cs1_pin": 25},
    "spi5-1cs": {"cs0_pin": 12},
    "spi5-2cs": {"cs0_pin": 12, "cs1_pin": 26},
    "spi6-1cs": {"cs0_pin": 18},
    "spi6-2cs": {"cs0_pin": 18, "cs1_pin": 27},
    "w1-gpio": {"gpiopin": 4},
    "w1-gpio-pi5": {"gpiopin": 4},
    "w1-gpio-pullup": {"gpiopin": 4, "extpullup": 5},
}
"""The parameters of common overlays that choose a line of the header, with their defaults:
https://github.com/raspberrypi/firmware/blob/master/boot/overlays/README"""

I2C, SPI, I2S, UART = "i2c_arm", "spi", "i2s", "uart"
LINES_OF_BOARD = {I2C: (2, 3), SPI: (7, 8, 9, 10, 11), I2S: (18, 19, 20, 21), UART: (14, 15)}
SYNONYMS = {"i2c": I2C, "i2c1": I2C, "i2c_arm": I2C, "spi": SPI, "i2s": I2S}
OFF = {"off", "no", "n", "false", "0"}
UARTS_OF_PI_5 = {"uart0", "uart0_console"}
"""Its parameters for the header's serial port. `enable_uart` is for its debug connector."""


@dataclass(frozen=True, slots=True)
class Board:
    """What the filters compare: this board's model filters, type and serial number.

    None stands for what is not known.
    """

    names: frozenset[str] | None = None
    type: int | None = None
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """An overlay that the firmware loads, or a parameter of the board (`name` is then BOARD).

    `text` is its line in the file. `filter` is a filter above it whose outcome is not known before
    the start, such as `[gpio5=1]`; None if the overlay is loaded in any case.
    """

    name: str
    text: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    filter: str | None = None

    @property
    def lines(self) -> tuple[int, ...]:
        """The GPIO lines (BCM) that it uses, as far as they are known."""
        if self.name == BOARD:
            on = [name for name, value in self.parameters.items() if value not in OFF]
            return tuple(line for name in on for line in LINES_OF_BOARD.get(name, ()))
        defaults = LINES_OF_OVERLAY.get(self.name, {})
        chosen = [_number(self.parameters.get(key, str(pin))) for key, pin in defaults.items()]
        by_number = tuple(line for line in chosen if line is not None)
        return by_number + fixed_lines(self.name, self.parameters)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A line of the file, by its number from 1, that `filter` above it excludes on this board."""

    number: int
    text: str
    filter: str

    def loads(self, name: str, pin: int) -> bool:
        """Return whether it would load this overlay for GPIO `pin` (BCM) without the filter."""
        overlays = read(self.text.encode("latin-1"), Board()).overlays
        return any(one.name == name and pin in one.lines for one in overlays)


@dataclass(frozen=True, slots=True)
class Effect:
    """What the firmware makes of a file: the overlays it loads, in order, and other settings.

    `ignored` are the lines of the file itself that have no effect on this board.
    """

    overlays: tuple[Overlay, ...]
    settings: Mapping[str, str]
    ignored: tuple[Ignored, ...]


def read(
    content: bytes, board: Board, included: Callable[[str], bytes] = lambda _name: b""
) -> Effect:
    """Return the effect of `content` on this board.

    `included` returns the content of an included file, empty if it does not exist.
    """
    reader = _Reader(board, included)
    reader.read(content)
    overlays = (*reader.of_board.values(), *reader.loaded)
    return Effect(overlays, reader.settings, tuple(reader.ignored))


class _Reader:
    def __init__(self, board: Board, included: Callable[[str], bytes]) -> None:
        self.of_board: dict[str, Overlay] = {}
        self.loaded: list[Overlay] = []
        self.settings: dict[str, str] = {}
        self.ignored: list[Ignored] = []
        self._board = board
        self._included = included
        self._filters: dict[str, tuple[bool | None, str]] = {}  # By kind.
        self._in_scope = False  # Whether a parameter may belong to the last overlay.

    def read(self, content: bytes, depth: int = 0) -> None:
        for number, text in _texts(content):
            if text.startswith("["):
                self._filter(text)
            elif (excluding := self._excluding()) is not None:
                if depth == 0:
                    self.ignored.append(Ignored(number, text, excluding))
            elif text.startswith("include ") and depth < DEEPEST:
                self.read(self._included(text.removeprefix("include ").strip()), depth + 1)
            else:
                self._set(text)

    def _filter(self, text: str) -> None:
        name = text[1:].partition("]")[0]
        if name == "all":
            self._filters.clear()
        elif (kind := _kind(name)) is not None:
            self._filters[kind] = (_outcome(kind, name, self._board), f"[{name}]")

    def _excluding(self) -> str | None:
        """Return a filter that excludes the next line, or None if there is none."""
        filters = self._filters.values()
        return next((text for outcome, text in filters if outcome is False), None)

    def _unknown(self) -> str | None:
        return next((text for outcome, text in self._filters.values() if outcome is None), None)

    def _set(self, text: str) -> None:
        # Space around the sign is a part of the name or the value.
        name, _, value = text.partition("=")
        if name in {"dtoverlay", "device_tree_overlay"}:
            self._load(value, text)
        elif name in {"dtparam", "device_tree_param"}:
            self._assign(value.split(","), text)
        else:
            self.settings[name] = value
            if name == "enable_uart" and self._board.names and not self._is_pi_5:
                self.of_board[UART] = Overlay(BOARD, text, {UART: value}, self._unknown())

    @property
    def _is_pi_5(self) -> bool:
        return "pi5" in (self._board.names or ())

    def _load(self, value: str, text: str) -> None:
        overlay, *parameters = value.split(",")
        name, colon, first = overlay.partition(":")  # The older form has a colon there.
        self._in_scope = bool(name) and exists(name, self._board.names)
        if self._in_scope:
            self.loaded.append(Overlay(name, text, filter=self._unknown()))
            self._assign([first, *parameters] if colon else parameters, text)

    def _assign(self, parameters: Iterable[str], text: str) -> None:
        for parameter in parameters:
            name, sign, value = parameter.partition("=")
            value = value if sign else "on"
            if self._in_scope:
                last = self.loaded[-1]
                self.loaded[-1] = replace(
                    last,
                    parameters={**last.parameters, name: value},
                    filter=last.filter or self._unknown(),
                )
            known = SYNONYMS.get(name)
            if name in UARTS_OF_PI_5 and self._is_pi_5:
                known = UART
            if known is not None:
                self.of_board[known] = Overlay(BOARD, text, {known: value}, self._unknown())


def _texts(content: bytes) -> Iterator[tuple[int, str]]:
    """Return the lines that are neither empty nor comments, as the firmware sees them."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        text = line.rstrip(b"\r")[:LONGEST_LINE].decode("latin-1").strip(" \t")
        if text and not text.startswith("#"):
            yield number, text


def _kind(name: str) -> str | None:
    """Return the kind of a filter; None if it is undefined."""
    return next((kind for kind, shape in FILTERS.items() if re.fullmatch(shape, name)), None)


def _outcome(kind: str, name: str, board: Board) -> bool | None:
    """Return whether a filter lets lines through on this board; None if only a start shows it."""
    if kind in {"none", "tryboot"}:  # The second is for one restart, by a special command.
        return False
    if kind == "serial" and board.serial is not None:
        return int(name, 16) in {board.serial, board.serial & 0xFFFFFFFF}
    if kind == "model":
        if not name.startswith("board-type="):
            return None if board.names is None else name in board.names
        return None if board.type is None else board.type == _number(name.partition("=")[2])
    return None


def _number(text: str) -> int | None:
    """Return the number at the beginning of `text`, as C does. None if there is none."""
    found = re.match(r"\s*(?:0[xX]([0-9a-fA-F]+)|([0-9]+))", text)
    if found is None:
        return None
    return int(found[1], 16) if found[1] else int(found[2])

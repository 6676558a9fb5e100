"""A simulation of lgpio with one chip. It records all calls.

Claiming a line that is an output already does nothing, as in lgpio's xSetAsOutput.
"""

from typing import Any

RISING_EDGE, FALLING_EDGE, BOTH_EDGES = 1, 2, 3
SET_PULL_UP, SET_PULL_DOWN, SET_PULL_NONE = 32, 64, 128

is_fake = True
calls: list[tuple[Any, ...]] = []  # The name and the arguments of each call.
levels: dict[int, int] = {}  # The levels of the lines that are outputs.
pwm: dict[int, tuple[float, float]] = {}  # Frequency and duty cycle of the lines with PWM.
handles: dict[int, set[int]] = {}  # The claimed lines of each open chip.
fails: dict[str, str] = {}  # The error of each function that fails.


class error(Exception):  # noqa: N801, N818 - lgpio's own name
    def __init__(self, value):
        super().__init__(value)
        self.value = value

    def __str__(self):
        return repr(self.value)


def reset():
    calls.clear()
    levels.clear()
    pwm.clear()
    handles.clear()
    fails.clear()


def _called(name, *arguments):
    calls.append((name, *arguments))
    if name in fails:
        raise error(fails[name])


def gpiochip_open(chip):
    _called("open", chip)
    handle = max(handles, default=0) + 1
    handles[handle] = set()
    return handle


def gpiochip_close(handle):
    _called("close")
    for gpio in handles.pop(handle):
        levels.pop(gpio, None)
        pwm.pop(gpio, None)


def gpio_claim_input(handle, gpio, flags=0):
    _called("input", gpio)
    _claim(handle, gpio)
    levels.pop(gpio, None)
    pwm.pop(gpio, None)


def gpio_claim_output(handle, gpio, level=0, flags=0):
    _called("output", gpio, level)
    _claim(handle, gpio)
    levels.setdefault(gpio, level)


def _claim(handle, gpio):
    if any(gpio in lines for other, lines in handles.items() if other != handle):
        raise error("GPIO busy")
    handles[handle].add(gpio)


def gpio_get_mode(handle, gpio):
    return 2 if gpio in levels else 1


def gpio_read(handle, gpio):
    return levels.get(gpio, 0)


def gpio_write(handle, gpio, level):
    _called("write", gpio, int(level))
    assert gpio not in pwm, "a write to a line that is switched by PWM"
    levels[gpio] = int(level)


def tx_pwm(handle, gpio, frequency, duty):
    _called("pwm", gpio, frequency, duty)
    if frequency:
        pwm[gpio] = (frequency, duty)
    else:
        pwm.pop(gpio, None)

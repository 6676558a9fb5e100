"""The virtual machine's board, and what runs on it: the daemon, a central, other programs."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import daemons

LED = 17
LEVEL = Path(f"/sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpio{LED}/value")
SENSOR = Path("/sys/module/dhtsim/parameters")
IIO = Path("/sys/bus/iio/devices/iio:device0")
TRACING = Path("/sys/kernel/tracing")
NOBODY = "65534"
PATIENCE = 120.0  # Seconds: the machine is slow, and its clock counts instructions.


def until(condition, *, what=lambda: "it did not come true"):
    return daemons.until(condition, what=what, patience=PATIENCE)


def level():
    return int(LEVEL.read_text())


def levels(seconds, every):
    """The line's level, looked at so often for so long, with the time of each look."""
    end = time.monotonic() + seconds
    seen = []
    while (now := time.monotonic()) < end:
        seen.append((now, level()))
        time.sleep(every)
    return seen


def share(seen):
    """The part of the looks at which the line was high."""
    return sum(high for _, high in seen) / len(seen)


def turns(seen):
    """When the line changed, and to what."""
    return [(at, now) for (_, before), (at, now) in pairwise(seen) if now != before]


def simulate(*, temperature=21.5, humidity=45.6, raw="", corrupt=False, mute=False):
    """Have the sensor at the other line answer this. `raw` is the four bytes of a DHT11, in hex."""
    values = {
        "temp": round(temperature * 10),
        "rh": round(humidity * 10),
        "raw": int.from_bytes(bytes.fromhex(raw), "big"),
        "corrupt": int(corrupt),
        "mute": int(mute),
    }
    for name, value in values.items():
        (SENSOR / name).write_text(str(value))


class Central:
    """`sensor-agent central`, asked through IoT Central's own paths."""

    def __init__(self, data):
        command = [sys.executable, "-m", "agent", "central", "--data", str(data)]
        self.process = subprocess.Popen([*command, "--http-port", "8080"])
        announced = data / "central.json"
        until(announced.exists)
        self.info = json.loads(announced.read_text())

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.info["http"].rstrip("/") + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.loads(response.read() or "null")

    def properties(self, device):
        return self.call("GET", f"/api/devices/{device}/properties")

    def until_told(self, device, **wanted):
        """Wait until the device has reported these properties."""

        def told():
            reported = self.properties(device)
            return all(reported.get(name) == value for name, value in wanted.items())

        until(told, what=lambda: f"{self.properties(device)} never had {wanted}")

    def command(self, device, name, payload=None):
        """The answer's status and body."""
        body = {} if payload is None else {"request": payload}
        answer = self.call("POST", f"/api/devices/{device}/commands/{name}", body)
        return answer["responseCode"], answer.get("response")

    def readings(self, device):
        """What arrived, oldest first, as (temperature, humidity)."""
        messages = self.call("GET", f"/console/api/devices/{device}/messages?limit=500")["value"]
        bodies = [json.loads(message["body"]) for message in reversed(messages)]
        return [(body["temp"], body["humid"]) for body in bodies]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0


class Daemon(daemons.Daemon):
    """The daemon with the real drivers, as `user` if one is given."""

    def __init__(
        self, home, central, *, device_id, interval=5, sensor="kernel", user=None, **cloud
    ):
        super().__init__(home, central, device_id=device_id, **cloud)
        self.id = device_id
        (home / "run").mkdir()  # As systemd does.
        self.config = home / "config.toml"
        before, *_ = self.config.read_text().partition("[sensor]")
        self.config.write_text(
            f'{before}[sensor]\ndriver = "{sensor}"\ninterval = {interval}\n'
            f'[led]\ndriver = "gpiozero"\npin = {LED}\n[log]\nlevel = "debug"\n'
        )
        self._user = user

    def program(self):
        as_user = ["setpriv", "--reuid", self._user, "--regid", self._user, "--clear-groups"]
        return [*(as_user if self._user else []), *super().program()]

    def until_connected(self):
        until(self._connected, what=self.tail)
        return self

    def stop(self, *, timeout=PATIENCE):
        return super().stop(timeout=timeout)

    @contextmanager
    def by_hand(self, *arguments, config=None):
        """Run `sensor-agent ...` with this configuration. Kill it if it outlives the block."""
        with subprocess.Popen(
            [*daemons.AGENT, *arguments, "--config", config or self.config],
            env=daemons.places(self.home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@contextmanager
def line_stays_high():
    """Have a line that nobody drives read as high, so that only a driven one is dark.

    A Raspberry Pi's line stays as it was when its program is killed; the simulator's goes to where
    its resistor pulls it.
    """
    pull = LEVEL.with_name("pull")
    pull.write_text("pull-up")
    try:
        yield
    finally:
        pull.write_text("pull-down")


@contextmanager
def written():
    """A list that has, after the block, each level that a line was set to in it, as traced."""
    levels: list[int] = []
    switch = TRACING / "events" / "gpio" / "gpio_value" / "enable"
    (TRACING / "trace").write_text("")
    switch.write_text("1")
    try:
        yield levels
    finally:
        switch.write_text("0")
        traced = (TRACING / "trace").read_text()
        levels += map(int, re.findall(r"gpio_value: \d+ +set (\d)", traced))


@contextmanager
def another_program_has_the_line():
    """gpioset, of libgpiod, holds the LED's line until it is killed."""
    holder = subprocess.Popen(["gpioset", "--mode=signal", "gpiochip0", f"{LED}=0"])
    try:
        until(lambda: b"gpioset" in subprocess.check_output(["gpioinfo", "gpiochip0"]))
        yield
    finally:
        holder.kill()
        holder.wait(PATIENCE)

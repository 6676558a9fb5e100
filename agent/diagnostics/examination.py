"""All checks, and the machine and the daemon that they examine."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Self

from agent.config.credentials import Credentials
from agent.config.loader import Config
from agent.diagnostics.checks import gpio, hardware, machine, network, software, storage
from agent.diagnostics.checks.finding import Finding, Outcome, skipped
from agent.errors import ControlError, SecretError
from agent.readings.clock import Clock
from agent.status import Status
from hw import ClimateSensor, Led, open_led, open_sensor
from hw.gpio import is_raspberry_pi

Check = Callable[[], Finding]

IDS = (
    "daemon",
    "configuration",
    "secrets",
    "packages",
    "gpio-access",
    "gpio-lines",
    "gpio-overlay",
    "sensor",
    "led",
    "clock",
    "power",
    "temperature",
    "disk-space",
    "disk-write",
    "outbox",
    "provisioning-dns",
    "provisioning-tcp",
    "provisioning-tls",
    "registration",
    "hub-dns",
    "hub-tcp",
    "hub-tls",
)
"""In order: a check may use the results of earlier ones."""

# Without a valid configuration these would examine the wrong things.
OF_CONFIGURATION = (
    "secrets",
    "packages",
    "gpio",
    "sensor",
    "led",
    "provisioning",
    "registration",
    "hub",
)

DEADLINES = {"sensor": 90.0, "registration": 60.0}
DEADLINE = 8.0  # Seconds for every other check.

NO_BOARD = skipped("this machine is not a Raspberry Pi (gpio-access)")
UNASKED = "the running daemon did not answer (daemon)"


def vcgencmd() -> str | None:
    """Return the output of `vcgencmd get_throttled`, or None if it cannot be run."""
    try:
        done = subprocess.run(
            ["vcgencmd", "get_throttled"],  # noqa: S607 - its place differs between systems.
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


@dataclass(kw_only=True)
class Examination:
    """The subject of one run of the checks; it keeps results that later checks use.

    `status` is the running daemon's status, and `refusal` the reason why the daemon did not send
    it. Both are None if no daemon runs. `inside` is true in the daemon itself: `config` is then its
    configuration, `config_in_file` its configuration after a restart, and `hub` its last known hub.
    `register` asks the provisioning service for the hub. The examination is a context manager,
    because it holds connections.
    """

    config: Config
    path: Path | None
    mistakes: Sequence[str]
    store: Path
    installed: str
    secrets: Callable[[Config], Credentials]
    secret_files: Sequence[Path]
    status: Status | None = None
    refusal: ControlError | None = None
    inside: bool = False
    config_in_file: Config | None = None
    hub: str | None = None
    register: Callable[[], str] | None = None
    may_use: Callable[[Path], bool]
    is_root: bool
    root: Path = Path("/")
    clock: Clock = field(default_factory=Clock)
    vcgencmd: Callable[[], str | None] = vcgencmd
    open_sensor: Callable[..., ClimateSensor] = open_sensor
    open_led: Callable[..., Led] = open_led
    way: Callable[..., network.Way] = network.Way
    _ways: list[network.Way] = field(default_factory=list, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for way in self._ways:
            way.close()

    def checks(self) -> dict[str, Check]:
        """Return the checks by id."""
        state, config = self.store.parent, self.config
        by_kernel = config.sensor.driver == "kernel"
        asks_root = not (self.inside or self.is_root)
        made: tuple[Check, ...] = (
            lambda: software.daemon(
                self.status, self.refusal, installed=self.installed, root=self.root
            ),
            lambda: software.configuration(
                self.path, self.mistakes, config, in_file=self.config_in_file, root=self.root
            ),
            lambda: software.secrets(
                partial(self.secrets, config), self.secret_files, may_ask_root=asks_root
            ),
            lambda: software.packages(config, has_board=not self._no_board),
            lambda: gpio.access(
                self.root / "dev",
                is_raspberry_pi=is_raspberry_pi(self.root),
                lines=self._lines(by_kernel=False),
                may_use=self.may_use,
                is_root=self.is_root,
            ),
            lambda: (
                NO_BOARD
                if self._no_board
                else gpio.holders(
                    lambda: gpio.read_chips(
                        self.root / "dev", list(self._lines(by_kernel=True).values())
                    ),
                    lines=self._lines(by_kernel=True),
                    by_kernel=by_kernel,
                    daemon_runs=self._daemon_runs,
                )
            ),
            lambda: gpio.overlay(self.root, by_kernel=by_kernel, pin=config.sensor.pin),
            self._sensor,
            self._led,
            lambda: machine.clock(self.clock.doubt(), self._now(), root=self.root),
            lambda: machine.power(self.root, self.vcgencmd),
            lambda: machine.temperature(self.root),
            lambda: storage.disk_space(state, max_megabytes=config.outbox.max_megabytes),
            lambda: storage.disk_write(
                state, mountinfo=self.root / "proc/self/mountinfo", may_ask_root=asks_root
            ),
            self._outbox,
            lambda: self._to_provisioning.dns,
            lambda: self._to_provisioning.tcp,
            lambda: self._to_provisioning.tls,
            lambda: self._registration[0],
            lambda: self._to_hub.dns,
            lambda: self._to_hub.tcp,
            lambda: self._to_hub.tls,
        )
        checks = dict(zip(IDS, made, strict=True))
        if self.mistakes and not self.inside:
            unknown = skipped("the configuration cannot be used (configuration)")
            checks |= {name: lambda: unknown for name in IDS if name.startswith(OF_CONFIGURATION)}
        return checks

    @property
    def _daemon_runs(self) -> bool:
        return self.status is not None or self.refusal is not None

    @property
    def _no_board(self) -> bool:
        """Whether drivers are configured that this machine has no pins for."""
        return bool(self._lines(by_kernel=False)) and not is_raspberry_pi(self.root)

    def _now(self) -> str:
        return f"{datetime.fromtimestamp(self.clock.wall(), UTC):%Y-%m-%d %H:%M} UTC"

    def _lines(self, *, by_kernel: bool) -> dict[str, int]:
        """Return the configured lines, including those of a kernel driver if `by_kernel`."""
        sensor, led = self.config.sensor, self.config.led
        lines: dict[str, int | None] = {
            gpio.SENSOR_PIN: sensor.pin
            if sensor.driver in {"dht22", "dht11"} or (by_kernel and sensor.driver == "kernel")
            else None,
            "[sensor] power_pin": None if sensor.driver == "fake" else sensor.power_pin,
            "[led] pin": led.pin if led.driver == "gpiozero" else None,
        }
        return {name: line for name, line in lines.items() if line is not None}

    def _sensor(self) -> Finding:
        if self.status is not None:
            return hardware.sensor_of_daemon(self.status.sensor)
        if self.refusal is not None:
            return skipped(UNASKED)
        sensor = self.config.sensor
        if self._no_board and sensor.driver in {"dht22", "dht11"}:
            return NO_BOARD
        return hardware.sensor_here(
            lambda: self.open_sensor(
                sensor.driver, model=sensor.model, pin=sensor.pin, power_pin=sensor.power_pin
            ),
            sensor,
        )

    def _led(self) -> Finding:
        if self.status is not None:
            return hardware.led_of_daemon(self.status.led)
        if self.refusal is not None:
            return skipped(UNASKED)
        led = self.config.led
        if self._no_board and led.driver == "gpiozero":
            return NO_BOARD
        return hardware.led_here(
            lambda: self.open_led(led.driver, pin=led.pin, active_high=led.active_high)
        )

    def _outbox(self) -> Finding:
        if self.status is not None:
            return storage.outbox_of_daemon(self.status.outbox)
        if self.refusal is not None:
            return skipped(UNASKED)
        return storage.outbox_here(self.store)

    @cached_property
    def _to_provisioning(self) -> network.Way:
        cloud = self.config.cloud
        return self._way("provisioning", None if cloud is None else cloud.provisioning_host, "")

    @cached_property
    def _registration(self) -> tuple[Finding, str | None]:
        """Whether the service knows this device, and the hub it assigned."""
        cloud = self.config.cloud
        if self.status is not None:
            session = self.status.cloud
            hub = None if session is None else session.hub
            return network.registration_of_daemon(session, root=self.root), hub or self.hub
        if cloud is None:
            return skipped("there is no [cloud] section"), None
        if self.refusal is not None or self.register is None:
            return skipped(UNASKED), None
        if self._to_provisioning.tls.outcome is not Outcome.OK:
            return skipped("the provisioning service cannot be reached"), None
        return network.registration_here(
            self.register, cloud=cloud, device_id=self.config.device.id
        )

    @cached_property
    def _to_hub(self) -> network.Way:
        return self._way("hub", self._registration[1], "the hub is not known (registration)")

    def _way(self, name: str, host: str | None, because: str) -> network.Way:
        way = self._make_way(name, host, because)
        self._ways.append(way)
        return way

    def _make_way(self, name: str, host: str | None, because: str) -> network.Way:
        cloud = self.config.cloud
        if cloud is None:
            return self.way(name, None, None, ca=None, because="there is no [cloud] section")
        # Connecting needs no key, and the user may not be able to read it.
        public = replace(
            cloud, key_file=None, group_key_file=None, x509_cert_file=None, x509_key_file=None
        )
        try:
            read = self.secrets(replace(self.config, cloud=public))
        except SecretError:
            because = "ca_file or proxy_password_file cannot be used (secrets)"
            return self.way(name, None, cloud, ca=None, because=because)
        return self.way(
            name, host, cloud, ca=read.ca, password=read.proxy_password, because=because
        )

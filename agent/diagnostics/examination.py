"""What the checks examine: the configuration, the machine, and the running daemon."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from agent import __version__
from agent.config.credentials import Credentials, read_credentials, secret_files, sign_in
from agent.config.loader import CloudConfig, Config
from agent.diagnostics.finding import Finding
from agent.diagnostics.installation import is_installed
from agent.diagnostics.line_processes import Processes, processes
from agent.diagnostics.route import Route
from agent.diagnostics.service_access import ServiceUser, service_user
from agent.diagnostics.service_advice import group_of, service_is_installed, user_name
from agent.errors import ControlError
from agent.readings.clock import Clock
from agent.status import Status
from hw import ClimateSensor, Led, open_led, open_sensor
from hw.gpio import is_raspberry_pi
from hw.gpio_lines import Chip, read_chip
from hw.sensors.models import CHIPS, DHTS

SENSOR_PIN = "[sensor] pin"
ADAFRUIT = frozenset(DHTS)  # The drivers that read the sensor over GPIO lines.


def package_version(name: str) -> str:
    """Return the version of an installed package. Raises PackageNotFoundError."""
    # It takes 0.6 MB, which a running daemon needs for this check only.
    from importlib.metadata import version  # noqa: PLC0415 - see above.

    return version(name)


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
    """The subject of one run of the checks, and what they have found so far.

    `config` was read from `path`, unless the file has `mistakes`. `state` is the state directory.
    In the daemon itself `status` is its status, `config_in_file` its configuration after a restart,
    and `hub` its last known hub. Elsewhere `refusal` is the reason why a running daemon did not
    answer, `register` asks the provisioning service for the hub, and `moved_to` is the ID scope of
    a device that was moved from the configured one. `resources` is to be closed.
    The rest is this machine.
    """

    config: Config
    path: Path | None
    state: Path
    mistakes: Sequence[str] = ()
    status: Status | None = None
    config_in_file: Config | None = None
    hub: str | None = None
    refusal: ControlError | None = None
    register: Callable[[], str] | None = None
    moved_to: str | None = None
    findings: dict[str, Finding] = field(default_factory=dict)
    routes: dict[str, Route | Finding] = field(default_factory=dict)
    resources: ExitStack = field(default_factory=ExitStack)

    installed: str = __version__
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    root: Path = Path("/")
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    service_user: Callable[[], ServiceUser | None] = service_user
    user_name: Callable[[], str] = user_name
    group_of: Callable[[Path], str] = group_of
    may_read: Callable[[Path], bool] = lambda file: os.access(file, os.R_OK)
    may_use: Callable[[Path], bool] = lambda file: os.access(file, os.R_OK | os.W_OK)
    is_installed: Callable[[str], bool] = is_installed
    version: Callable[[str], str] = package_version
    clock: Clock = field(default_factory=Clock)
    vcgencmd: Callable[[], str | None] = vcgencmd
    read_chip: Callable[[Path, Sequence[int]], Chip] = read_chip
    processes: Callable[[Path], Processes] = processes
    open_sensor: Callable[..., ClimateSensor] = open_sensor
    open_led: Callable[..., Led] = open_led
    route: Callable[..., Route] = Route

    @property
    def is_of_service(self) -> bool:
        """Whether the configuration is that of the installed service."""
        return self.path == self.root / "etc/sensor-agent/config.toml" and service_is_installed(
            self.root
        )

    @property
    def is_in_daemon(self) -> bool:
        return self.status is not None

    @property
    def daemon_runs(self) -> bool:
        return self.is_in_daemon or self.refusal is not None

    @property
    def may_ask_root(self) -> bool:
        """Whether more could be found with sudo."""
        return not (self.is_in_daemon or self.is_root)

    @property
    def secret_files(self) -> list[Path]:
        """The files that the configuration names; they need not exist."""
        cloud = self.config.cloud
        if cloud is None:
            return []
        return secret_files(cloud, base=self._base, environ=self.environ)

    def sign_in(self, config: Config) -> tuple[Config, Credentials | None]:
        """Read the files that `config` names, and complete it by them. Raises SecretError."""
        return sign_in(config, base=self._base, environ=self.environ)

    def credentials(self, cloud: CloudConfig) -> Credentials:
        """Read the files that `cloud` names, except a connection string. Raises SecretError."""
        return read_credentials(
            cloud, device_id=self.config.device.id, base=self._base, environ=self.environ
        )

    @property
    def _base(self) -> Path:
        return Path.cwd() if self.path is None else self.path.parent

    def lines(self, *, with_kernel: bool = False) -> dict[str, int]:
        """Return the GPIO lines that this program drives, by configuration key.

        `with_kernel` adds the line of a sensor that the kernel reads.
        """
        sensor, led = self.config.sensor, self.config.led
        reads = sensor.driver in ADAFRUIT or (
            with_kernel and sensor.driver == "kernel" and not self.reads_i2c
        )
        lines = {
            SENSOR_PIN: sensor.pin if reads else None,
            "[sensor] power_pin": None if sensor.driver == "fake" else sensor.power_pin,
            "[led] pin": led.pin if led.driver == "gpiozero" else None,
        }
        return {name: line for name, line in lines.items() if line is not None}

    @property
    def reads_i2c(self) -> bool:
        """Whether the sensor is on I2C, so that it has no GPIO line."""
        return self.config.sensor.model in CHIPS

    @property
    def lacks_board(self) -> bool:
        """Whether this machine has no pins for the configured drivers."""
        return bool(self.lines()) and not is_raspberry_pi(self.root)

"""What was installed and written down: the configuration, the secrets, the packages, the daemon."""

import platform
import stat
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from agent.config.loader import Config
from agent.diagnostics import installation
from agent.diagnostics.checks.finding import Finding, failed, ok, skipped, warning
from agent.diagnostics.service_advice import how_to_restart, how_to_start, where_the_log_is
from agent.errors import ControlError, SecretError, in_words
from agent.status import Status
from hw.sensors.adafruit import PACKAGES as DHT_PACKAGES

LED_PACKAGES = {"gpiozero": "gpiozero", "lgpio": "lgpio"}
OTHER_NAMES = {"lgpio": ("adafruit-lgpio",)}  # Packages that bring the same module.
SDK_SERIES = "2.14."
PLACEHOLDER = "0.0."  # The first version of lgpio on the package index is empty.


def configuration(
    path: Path | None,
    mistakes: Sequence[str],
    config: Config,
    *,
    in_file: Config | None,
    root: Path = Path("/"),
) -> Finding:
    """`mistakes` are those in the file; `in_file` is what it says, if another may be in force."""
    if mistakes:
        return failed(
            _first_of(mistakes),
            "Correct the file; sensor-agent config check finds every mistake in it.",
            *mistakes,
        )
    if path is None:
        return warning(
            "There is no configuration file; the defaults are in force, and nothing is sent.",
            "sensor-agent config example prints one to start from.",
        )
    if in_file is not None and in_file != config:
        return warning(
            f"{path} was changed since the daemon started.",
            how_to_restart(root),
        )
    if config.cloud is None:
        return warning(
            f"{path} has no [cloud] section: nothing is sent.",
            "Add one; sensor-agent config example shows how.",
        )
    return ok(f"{path} has no mistake.")


def _first_of(mistakes: Sequence[str]) -> str:
    return mistakes[0] + (f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else "")


def secrets(read: Callable[[], object], files: Sequence[Path], *, may_ask_root: bool) -> Finding:
    """`read` reads them or raises SecretError, `files` are where they should be."""
    if not files:
        return skipped("the configuration names no secrets")
    details = [_described(file) for file in files]
    try:
        read()
    except SecretError as error:
        if may_ask_root and isinstance(error.__cause__, PermissionError):
            return skipped("only root may read the secrets; ask with sudo sensor-agent check")
        return failed(
            _first_of(error.mistakes),
            "Correct that; then check every file with: sensor-agent config check.",
            *error.mistakes,
            *details,
        )
    return ok("Every secret can be read here, and by nobody else.", *details)


def _described(file: Path) -> str:
    try:
        found = file.stat()
    except OSError as error:
        return f"{file}: {in_words(error)}"
    return f"{file}: mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}:{found.st_gid}"


def packages(
    config: Config,
    *,
    has_board: bool = True,
    find: Callable[[str], bool] = installation.is_installed,
    version: Callable[[str], str] = metadata.version,
) -> Finding:
    """`find` returns whether a module can be imported, `version` the version of a package.

    Without a board, drivers that need one are of no use, and so are their packages.
    """
    wanted = {"azure": "azure-iot-device"} if config.cloud is not None else {}
    if has_board and config.sensor.driver in {"dht22", "dht11"}:
        wanted |= DHT_PACKAGES
    if has_board and (config.led.driver == "gpiozero" or config.sensor.power_pin is not None):
        wanted |= LED_PACKAGES
    versions = {package: _version(package, version) for package in wanted.values()}
    details = [
        f"Python {platform.python_version()} on {platform.machine()}",
        *(f"{package} {found}" for package, found in versions.items()),
        f"systemd-python {_version('systemd-python', version)}",
    ]
    missing = [package for module, package in wanted.items() if not find(module)]
    if missing:
        extra = "" if missing == ["azure-iot-device"] else "pi"
        return failed(
            f"Not installed: {', '.join(missing)}.",
            f"{installation.sentence(missing, extra=extra)}.",
            *details,
        )
    if versions.get("lgpio", "").startswith(PLACEHOLDER):
        return failed(
            "The installed package lgpio is an empty placeholder.",
            f"Uninstall it: {sys.executable} -m pip uninstall lgpio. Then "
            f"{installation.advice(['lgpio'], extra='pi')}.",
            *details,
        )
    sdk = versions.get("azure-iot-device", SDK_SERIES)
    if not sdk.startswith(SDK_SERIES):
        return warning(
            f"azure-iot-device {sdk} has not been tested with this program.",
            "Install a version that has been tested: "
            f"{sys.executable} -m pip install 'azure-iot-device>=2.14,<2.15'.",
            *details,
        )
    if not has_board:
        return skipped("the packages of the drivers need a Raspberry Pi (gpio-access)")
    return ok("Every package that is needed is installed.", *details)


def _version(package: str, version: Callable[[str], str]) -> str:
    for name in (package, *OTHER_NAMES.get(package, ())):
        try:
            return version(name)
        except metadata.PackageNotFoundError:
            continue
    return "(version unknown)"


def daemon(
    status: Status | None, refusal: ControlError | None, *, installed: str, root: Path = Path("/")
) -> Finding:
    """`status` is the running daemon's own, `refusal` why it could not be asked."""
    if refusal is not None:
        return failed(refusal.sentence, refusal.advice or where_the_log_is(root))
    if status is None:
        return warning(
            "No daemon is running.",
            how_to_start(root),
        )
    if status.version != installed:
        return warning(
            f"The daemon that runs is version {status.version}; installed is {installed}.",
            how_to_restart(root),
        )
    return ok(f"sensor-agent {status.version} runs as {status.device_id}.")

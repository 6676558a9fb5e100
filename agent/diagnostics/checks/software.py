"""The software: the daemon, its configuration, the secrets, the installed packages."""

import platform
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent.config.loader import Config, exists
from agent.diagnostics import installation
from agent.diagnostics.examination import ADAFRUIT, Examination
from agent.diagnostics.finding import Finding, failed, ok, skipped, warning
from agent.diagnostics.registry import check
from agent.diagnostics.service_access import TO_CREDENTIALS, hidden_from_service
from agent.diagnostics.service_advice import (
    group_of,
    how_to_join,
    how_to_restart,
    how_to_start,
    where_the_log_is,
)
from agent.errors import SecretError, in_words
from agent.ranges import is_image_name
from hw.sensors.adafruit import PACKAGES as DHT_PACKAGES

LED_PACKAGES = {"gpiozero": "gpiozero", "lgpio": "lgpio"}
OTHER_NAMES = {"lgpio": ("adafruit-lgpio",)}  # Packages with the same module.
SDK = "azure-iot-device"
TESTED_SDKS = ("2.14.", "2.15.")
ASK_ROOT = "use sudo sensor-agent check"
PLACEHOLDER = "0.0."  # The first version of lgpio on the package index is empty.


@check("daemon")
def daemon(examination: Examination) -> Finding:
    status, refusal = examination.status, examination.refusal
    if refusal is not None:
        return failed(refusal.sentence, refusal.advice or where_the_log_is(examination.root))
    if status is None:
        return warning("No daemon is running.", how_to_start(examination.root))
    if status.version != examination.installed:
        return warning(
            f"The running daemon has version {status.version}, but {examination.installed} is "
            "installed.",
            how_to_restart(examination.root),
        )
    version = installation.described(status.version, status.origin)
    if status.origin == installation.ORIGINS[installation.KEPT]:
        return warning(
            f"{version} is running.",
            "To see the reason, if there is one: sudo journalctl -u sensor-agent. To complete the "
            "upgrade: sudo dpkg --configure -a && sudo dpkg-reconfigure sensor-agent. If that "
            "fails, install the package again.",
        )
    return ok(f"{version} is running as {status.device_id}.")


@check("configuration")
def configuration(examination: Examination) -> Finding:
    path, mistakes = examination.path, examination.mistakes
    if mistakes and path is not None and exists(path) and not examination.may_read(path):
        return failed(_first_of(mistakes), how_to_join(group_of(path)))
    if mistakes:
        return failed(
            _first_of(mistakes),
            "Correct the file. To check it: sensor-agent config check",
            *mistakes,
        )
    if path is None:
        return warning(
            "There is no configuration file. The defaults apply, and no readings are sent.",
            "To print a file to start from: sensor-agent config example",
        )
    return _judge(path, examination)


def _judge(path: Path, examination: Examination) -> Finding:
    """Judge a file without mistakes."""
    in_file = examination.config_in_file
    if in_file is not None and _without_secrets(in_file) != _without_secrets(examination.config):
        return warning(
            f"{path} was changed after the daemon started.", how_to_restart(examination.root)
        )
    if examination.config.cloud is not None and is_image_name(examination.config.device.id):
        return warning(
            f"{path}: every new image has the host name {examination.config.device.id}, and "
            "devices with the same id disconnect each other.",
            "Set id in [device] to a name that no other device has. A key belongs to one id, so a "
            "device needs its own key for a new one.",
        )
    if examination.config.cloud is None:
        return warning(
            f"{path} has no [cloud] section, so no readings are sent.",
            "Add the section. For an example: sensor-agent config example",
        )
    return ok(f"{path} has no mistakes.")


def _without_secrets(config: Config) -> Config:
    """Return `config` without what comes from a connection string."""
    if config.cloud is None or config.cloud.connection_string_file is None:
        return config
    return replace(
        config, device=replace(config.device, id=""), cloud=replace(config.cloud, hub=None)
    )


def _first_of(mistakes: Sequence[str]) -> str:
    return mistakes[0] + (f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else "")


@check("secrets", needs=("configuration",))
def secrets(examination: Examination) -> Finding:
    """Read the secrets. A connection string completes the configuration that is examined."""
    cloud = examination.config.cloud
    if cloud is None:
        return skipped("the configuration names no secrets")
    details = [_described(file) for file in examination.secret_files]
    try:
        config, _ = examination.sign_in(examination.config_in_file or examination.config)
    except SecretError as error:
        if (only_root := unreadable(error, examination)) is not None:
            return only_root
        return failed(
            _first_of(error.mistakes),
            "Correct that. To check every file: sensor-agent config check",
            *error.mistakes,
            *details,
        )
    if not examination.is_in_daemon:
        examination.config = config
    if examination.is_root and examination.is_of_service:
        reason = hidden_from_service(examination.secret_files, user=examination.service_user())
        if reason is not None:
            return failed(reason, f"{TO_CREDENTIALS}.", *details)
    return ok("Every secret is readable here, and by no other user.", *details)


def unreadable(error: SecretError, examination: Examination) -> Finding | None:
    """Return that a check needs sudo, if that is why it cannot read the secrets."""
    if examination.may_ask_root and isinstance(error.__cause__, PermissionError):
        return skipped(f"only root can read the secrets: {ASK_ROOT}")
    return None


def _described(file: Path) -> str:
    try:
        found = file.stat()
    except OSError as error:
        return f"{file}: {in_words(error)}"
    return f"{file}: mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}:{found.st_gid}"


@check("packages", needs=("configuration",))
def packages(examination: Examination) -> Finding:
    """Check the packages that the configuration needs; those of drivers only on a board."""
    wanted = _wanted(examination)
    versions = {package: version_of(package, examination) for package in wanted.values()}
    details = [
        f"Python {platform.python_version()} on {platform.machine()}",
        *(f"{package} {version}" for package, version in versions.items()),
        f"systemd-python {version_of('systemd-python', examination)}",
    ]
    missing = [one for module, one in wanted.items() if not examination.is_installed(module)]
    if missing:
        extra = "" if missing == [SDK] else "pi"
        return failed(
            f"Not installed: {', '.join(missing)}.",
            installation.sentence(missing, extra=extra),
            *details,
        )
    if versions.get("lgpio", "").startswith(PLACEHOLDER):
        return failed(
            "The installed package lgpio is an empty placeholder.",
            f"Uninstall it: {sys.executable} -m pip uninstall lgpio. Then "
            f"{installation.advice(['lgpio'], extra='pi')}",
            *details,
        )
    sdk = versions.get(SDK)
    if sdk is not None and not sdk.startswith(TESTED_SDKS):
        return warning(
            f"azure-iot-device {sdk} has not been tested with this program.",
            f"To install a tested version: {sys.executable} -m pip install '{SDK}>=2.14,<2.16'",
            *details,
        )
    if examination.lacks_board:
        return skipped("the packages of the drivers need a Raspberry Pi (gpio-access)")
    return ok("Every required package is installed.", *details)


def _wanted(examination: Examination) -> dict[str, str]:
    """Return the required modules, with the package of each."""
    config = examination.config
    wanted = {"azure": SDK} if config.cloud is not None else {}
    if examination.lacks_board:
        return wanted
    if config.sensor.driver in ADAFRUIT:
        wanted |= DHT_PACKAGES
    if config.led.driver == "gpiozero" or config.sensor.power_pin is not None:
        wanted |= LED_PACKAGES
    return wanted


def version_of(package: str, examination: Examination) -> str:
    """Return the version of an installed package, or that it is unknown."""
    for name in (package, *OTHER_NAMES.get(package, ())):
        try:
            return examination.version(name)
        except ModuleNotFoundError:  # PackageNotFoundError, without its module.
            continue
    return "(version unknown)"

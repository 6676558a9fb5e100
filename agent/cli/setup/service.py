"""The service of systemd: its drop-ins, its start, and whether it is connected."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.cli.setup.answers import CERTIFICATE, CERTIFICATE_KEY
from agent.cli.setup.changes import Changes
from agent.cli.setup.machine import Machine
from agent.config.credentials import SERVICE_CREDENTIALS
from agent.config.loader import SYSTEM_FILE, SYSTEM_RUNTIME, Config
from agent.diagnostics.installation import ROOT
from agent.errors import AgentError, ControlError
from agent.status import CloudPart, Status
from hw.sensors.models import DHTS

SERVICE = "sensor-agent"
DROP_INS = "/etc/systemd/system/sensor-agent.service.d"
SOURCES = (Path("/usr/share/sensor-agent"), ROOT / "deploy")  # Of the package, and of a checkout.
CONNECTING = 30.0  # Seconds. A registration and a sign-in take a few.
LOOK_EVERY = 0.5  # Seconds between two looks.


@dataclass(frozen=True, slots=True)
class State:
    """The service as systemd shows it: for example `active` and `enabled`."""

    active: str = "unknown"
    enabled: str = "unknown"

    @property
    def works(self) -> bool:
        return self.active == "active"


def state(machine: Machine) -> State:
    """Return the service's state now."""
    active, enabled = (
        machine.run(("systemctl", question, SERVICE)).output.strip()
        for question in ("is-active", "is-enabled")
    )
    return State(active, enabled)


def write_drop_ins(changes: Changes, config: Config) -> None:
    """Write the additions to the unit that this configuration needs, and remove the others."""
    machine = changes.machine
    changes.directory(DROP_INS, 0o755)
    _put_drop_in(changes, "adafruit.conf", wanted=config.sensor.driver in DHTS)
    timesyncd = machine.run(("systemctl", "is-enabled", "systemd-timesyncd"))
    _put_drop_in(changes, "clock.conf", wanted=timesyncd.output.strip() != "enabled")
    name = f"{DROP_INS}/certificate.conf"
    cloud = config.cloud
    if cloud is not None and cloud.x509_cert_file == Path(CERTIFICATE):
        changes.put(name, _credentials(CERTIFICATE, CERTIFICATE_KEY).encode(), 0o644)
    else:
        changes.remove(name)


def _put_drop_in(changes: Changes, name: str, *, wanted: bool) -> None:
    installed = f"{DROP_INS}/{name}"
    if not wanted:
        changes.remove(installed)
        return
    for directory in SOURCES:
        source = changes.machine.path(directory / name)
        if source.exists():
            changes.put(installed, source.read_bytes(), 0o644)
            return
    if not changes.machine.path(installed).exists():
        raise AgentError(
            f"{SOURCES[0] / name}, which the service needs on this machine, is missing. Install "
            "the package sensor-agent again."
        )


def _credentials(*names: str) -> str:
    """Return the drop-in that passes these files to the daemon."""
    lines = (f"LoadCredential={name}:{SERVICE_CREDENTIALS}/{name}" for name in names)
    return "\n".join(
        ["# Written by sensor-agent setup: the device's certificate.", "[Service]", *lines, ""]
    )


def start(changes: Changes, before: State) -> None:
    """Start the service with its new settings, and wait until it is ready.

    It is left alone if nothing has changed and it runs already. Raises AgentError, with the last
    lines of its log on standard error, if it does not become ready.
    """
    machine = changes.machine
    is_running = before == State("active", "enabled")
    if is_running and not changes.made and not _has_unread_settings(machine):
        print("Nothing has changed. The service continues to run.")
        return
    print("Starting the service")
    if before.works:
        changes.undo_last("starting the service with its previous settings", lambda: again(machine))
    changes.must_run("systemctl", "daemon-reload")
    changes.must_run("systemctl", "--quiet", "enable", SERVICE)
    # It is a notify service: systemctl returns when the daemon is ready.
    done = changes.run("systemctl", "restart", SERVICE)
    if changes.dry_run:
        return
    if done.status != 0 or not state(machine).works:
        journal = ("journalctl", "--quiet", "--no-pager", "--boot", "--unit", SERVICE)
        log = machine.run((*journal, "--output", "cat", "--lines", "10")).output
        print(log.rstrip() or done.reason, file=sys.stderr)
        raise AgentError("The service does not start. Its last messages are above.")


def _has_unread_settings(machine: Machine) -> bool:
    """Return whether a setting is newer than the daemon's socket, made when the daemon starts."""
    try:
        started = machine.path(SYSTEM_RUNTIME / "control.sock").stat().st_mtime
    except OSError:
        return False
    places = [machine.path(place) for place in (SYSTEM_FILE.parent, DROP_INS)]
    files = [file for place in places for file in (place, *place.rglob("*"))]
    return any(file.stat().st_mtime > started for file in files if file.exists())


def again(machine: Machine) -> None:
    """Start the service as it was before. Raises AgentError."""
    for command in (("daemon-reload",), ("restart", SERVICE)):
        done = machine.run(("systemctl", *command))
        if done.status != 0:
            raise AgentError(f"systemctl {' '.join(command)} failed: {done.reason}")


def wait_until_connected(machine: Machine) -> Status | None:
    """Return the daemon's status as soon as it is connected, or after CONNECTING seconds.

    None if it did not answer.
    """
    until = machine.now() + CONNECTING
    status = None
    while True:
        try:
            status = machine.status()
        except ControlError:  # It is restarting; the last status is the best there is.
            pass
        else:
            if status.cloud is None or status.cloud.hub is not None:
                return status
        if machine.now() >= until:
            return status
        machine.sleep(LOOK_EVERY)


def why_not_connected(cloud: CloudPart) -> str:
    """Return the daemon's reason, as a sentence."""
    if cloud.error is None:
        return f"It has not connected within {CONNECTING:g} s."
    return cloud.error if cloud.error.endswith((".", "!")) else f"{cloud.error}."


def let_caller_in(changes: Changes) -> None:
    """Add the user who called sudo to the group that may use the control socket."""
    machine = changes.machine
    caller = machine.environ.get("SUDO_USER", "root")
    if caller == "root" or SERVICE in groups_of(machine, caller):
        return
    print(f"Adding {caller} to the group {SERVICE} (takes effect at the next login)")
    done = changes.run("usermod", "--append", "--groups", SERVICE, caller)
    if done.status != 0:  # For example a user from a directory service.
        print(f"Cannot add {caller} ({done.reason}). {caller} needs sudo for sensor-agent status.")


def groups_of(machine: Machine, user: str) -> Sequence[str]:
    """Return the names of the groups of `user`."""
    done = machine.run(("id", "-nG", user))
    return done.output.split() if done.status == 0 else ()

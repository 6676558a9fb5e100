"""`sensor-agent setup`: its steps and its final message."""

import json
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.cli.setup import answers as meaning
from agent.cli.setup import board, options, service
from agent.cli.setup import terminal_questions as terminal
from agent.cli.setup.answers import Answers
from agent.cli.setup.changes import Changes, writing
from agent.cli.setup.interview import Interview, Situation
from agent.cli.setup.machine import Machine
from agent.cli.setup.options import MisusedError, Options
from agent.cli.signals import interruptible, stop_signals
from agent.config import loader
from agent.config.credentials import SERVICE_CREDENTIALS, STORED, sign_in
from agent.config.loader import SYSTEM_FILE, Config
from agent.diagnostics.mounts import OVERLAY_ROOT, memory_of, read_mounts
from agent.diagnostics.service_advice import service_is_installed
from agent.errors import AgentError, ConfigError, SecretError, is_loopback
from agent.status import Status
from agent.storage.files import replace_file, unfinished
from hw.sensors.models import CHIPS

DONE, FAILURE, USAGE, CANNOT_WORK = 0, 1, 2, 78
GROUP = "sensor-agent"
SETTINGS = str(SYSTEM_FILE.parent)
CENTRALS = ("/var/lib/sensor-agent-central", "/var/lib/sensor-agent/central")
OF_USER = ".local/state/sensor-agent/central"


def setup(given: Options, machine: Machine | None = None) -> int:
    """Set up the service of this machine, and return the exit status.

    The status is 0 if the daemon runs and is connected, 2 for options that exclude each other, 78
    for a configuration that cannot work, and 1 for any other failure.
    """
    machine = machine or Machine()
    changes = Changes(machine, dry_run=given.dry_run)
    interview: Interview | None = None
    before = service.State()
    try:
        with interruptible():
            options.check(given)
            _must_be_possible(given, machine)
            _warn_of_memory(machine)
            before = service.state(machine)
            interview = Interview(_situation(machine), Answers(options=given))
            return _carry_out(interview, changes, before)
    except MisusedError as error:
        print(f"sensor-agent setup: {error}", file=sys.stderr)
        return USAGE
    except AgentError as error:
        print(error, file=sys.stderr)
        status = CANNOT_WORK if isinstance(error, ConfigError) else FAILURE
    except KeyboardInterrupt:
        print("" if changes.made else "\nNothing was changed.", file=sys.stderr)
        status = FAILURE
    with _undisturbed():
        _clean_up(changes, before)
    if interview is not None and interview.has_unsaved:
        print("To use the same answers again (a typed secret is asked for again):", file=sys.stderr)
        print(f"    {interview.options.command_line()}", file=sys.stderr)
    return status


def _clean_up(changes: Changes, before: service.State) -> None:
    """After a failure: undo what was changed, if a service worked before; else keep the answers."""
    if before.works:
        changes.undo()
    elif changes.is_pending:
        print(
            f"The answers are kept in {SETTINGS}. After the cause is corrected: {options.COMMAND}",
            file=sys.stderr,
        )


def _must_be_possible(given: Options, machine: Machine) -> None:
    if given.dry_run:
        return
    if not machine.is_root:
        raise AgentError(f"Root is required. Use sudo: {given.command_line()}")
    if not machine.path("/run/systemd/system").is_dir():
        raise AgentError("This system was not started with systemd, which the service needs.")
    if not service_is_installed(machine.root):
        raise AgentError(
            "The service is not installed: systemd has no unit sensor-agent.service. Install the "
            "package sensor-agent first: see docs/install.md."
        )


def _warn_of_memory(machine: Machine) -> None:
    """Warn if a restart of the machine undoes whatever setup does."""
    memory = memory_of(Path(SETTINGS), read_mounts(machine.root), machine.root)
    if memory is not None:
        print(
            f"{SETTINGS} is in memory ({memory}), so a restart of this machine loses everything "
            f"that setup writes. {OVERLAY_ROOT}",
            file=sys.stderr,
        )


def _carry_out(interview: Interview, changes: Changes, before: service.State) -> int:
    """Ask, change the machine, and start the service."""
    machine = changes.machine
    text = interview.hold()
    answers = interview.answers
    config = _checked(text, answers, machine)
    board.must_have_free_lines(machine.root, config)
    board.must_have_free_address(machine.root, config.sensor)
    if interview.assumed:
        print(f"Using the defaults: {' '.join(interview.assumed)}")
    _write(changes, text, answers, config)
    service.write_drop_ins(changes, config)
    if config.sensor.model in CHIPS:
        board.use_chip(changes, config.sensor)
    elif config.sensor.driver == "kernel":
        board.use_kernel_driver(changes, config.sensor.pin)
    else:
        board.release_line(changes)
    service.start(changes, before)
    interview.has_unsaved = False
    changes.finish()
    service.let_caller_in(changes)
    if changes.dry_run:
        _remove_unused_secrets(changes, config)
        print("Nothing was changed.")
        return DONE
    _advise_on_group_key(interview, config)
    exit_status = _report(service.wait_until_connected(machine), config, interview.page)
    if exit_status == DONE:  # Before that, the earlier way may be the only one that works.
        _remove_unused_secrets(changes, config)
    return exit_status


# The machine before setup.


def _situation(machine: Machine) -> Situation:
    """Return what is on the machine. Raises AgentError or ConfigError."""
    text, host = None, None
    may_ask = terminal.is_terminal()
    file = machine.path(SYSTEM_FILE)
    if loader.exists(file):
        text = _text_of(file)
        with suppress(ConfigError):  # The answers may correct it; they are checked with it.
            host = _host(loader.read(text.encode(), SYSTEM_FILE), machine)
    return Situation(
        file=SYSTEM_FILE,
        root=machine.root,
        text=text,
        host=host,
        central=_running_central(machine) if may_ask else None,
        may_ask=may_ask,
    )


def _text_of(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{SYSTEM_FILE}: not UTF-8 text. Save it as UTF-8.") from None
    except PermissionError:
        raise AgentError(
            f"Only root can read {SETTINGS}, which decides what setup does. Use sudo."
        ) from None
    except OSError as error:
        raise AgentError(f"Cannot read {SYSTEM_FILE}: {error.strerror}.") from error


def _host(config: Config, machine: Machine) -> str | None:
    """Return the host that a configuration connects to. None if that cannot be found out."""
    cloud = config.cloud
    if cloud is None:
        return None
    if cloud.connection_string_file is None:
        return cloud.hub or cloud.provisioning_host
    try:
        base = machine.path(SETTINGS)
        found, _ = sign_in(config, base=base, environ={})
    except SecretError:  # An ordinary user may not read it, or it is to be replaced.
        return None
    return None if found.cloud is None else found.cloud.hub


def _running_central(machine: Machine) -> Path | None:
    """Return the data directory of a local IoT Central that runs on this machine, if one does."""
    caller = machine.environ.get("SUDO_USER", "")
    homes = [Path(machine.environ.get("HOME", "/root"))]
    if caller:
        with suppress(RuntimeError):  # The user does not exist.
            homes.insert(0, Path(f"~{caller}").expanduser())
    for place in [*(home / OF_USER for home in homes), *map(Path, CENTRALS)]:
        directory = machine.path(place)
        try:
            # It removes the file when it ends, but not when the power fails.
            central = json.loads((directory / "central.json").read_bytes())
            with socket.create_connection((central["mqtt_host"], central["mqtt_port"]), 1.0):
                return directory
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


# Checking and writing.


def _checked(text: str, answers: Answers, machine: Machine) -> Config:
    """Return the configuration as the daemon will see it, with the id of a connection string.

    Everything is laid out in a temporary directory first, and read there by the daemon's own code.
    Raises ConfigError or SecretError.
    """
    config = loader.read(text.encode(), SYSTEM_FILE)
    # /run is in memory. /tmp may be on the card, which keeps a secret that was deleted.
    place = str(machine.path("/run")) if machine.is_root else tempfile.gettempdir()
    with writing(place), tempfile.TemporaryDirectory(dir=place) as directory:
        stage = Path(directory)
        _lay_out(stage, answers, config, machine.path(SETTINGS))
        try:
            return sign_in(config, base=stage, environ={})[0]
        except SecretError as error:
            if not machine.is_root and isinstance(error.__cause__, PermissionError):
                return config  # Of a dry run: only root can read the credentials.
            raise SecretError(_with_real_names(str(error), stage, answers.options)) from error


def _lay_out(stage: Path, answers: Answers, config: Config, today: Path) -> None:
    """Write the new files to `stage`, and link those of `today` that stay."""
    new = {f"{STORED}/{name}": content for name, content in _secrets(answers, config).items()}
    if answers.ca is not None:
        new[meaning.CA] = answers.ca
    (stage / STORED).mkdir(mode=0o700)
    for name, content in new.items():
        replace_file(stage / name, content)
    for place in (Path(), Path(STORED)):
        for file in _entries(today / place):
            link = stage / place / file.name
            if not link.exists():
                link.symlink_to(file.absolute())


def _with_real_names(sentence: str, stage: Path, given: Options) -> str:
    """Return the sentence with the names of the given files, or of the files as installed."""
    names = {
        meaning.CA: given.ca_file,
        f"{STORED}/{meaning.CERTIFICATE}": given.certificate_file,
        f"{STORED}/{meaning.CERTIFICATE_KEY}": given.certificate_key_file,
    }
    for name, file in names.items():
        if file is not None:
            sentence = sentence.replace(str(stage / name), str(file))
    return sentence.replace(str(stage), SETTINGS)


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except PermissionError:  # In a dry run: reading one of these will report it.
        return [directory / name for name in meaning.SECRETS]
    except FileNotFoundError:
        return []


def _secrets(answers: Answers, config: Config) -> dict[str, bytes]:
    return meaning.secrets(answers, config.device.id)


def _write(changes: Changes, text: str, answers: Answers, config: Config) -> None:
    changes.directory(SETTINGS, 0o750, GROUP)
    changes.directory(SERVICE_CREDENTIALS, 0o700)
    for name in meaning.SECRETS:  # A power cut may have left one.
        changes.remove(str(unfinished(Path(SERVICE_CREDENTIALS, name))))
    for name, content in _secrets(answers, config).items():
        changes.put(f"{SERVICE_CREDENTIALS}/{name}", content, 0o600)
    if answers.ca is not None:
        changes.put(f"{SETTINGS}/{meaning.CA}", answers.ca, 0o644)
    changes.put(str(SYSTEM_FILE), text.encode(), 0o640, GROUP)


def _remove_unused_secrets(changes: Changes, config: Config) -> None:
    """Remove the secrets of an earlier way to the hub."""
    cloud = config.cloud
    assert cloud is not None  # noqa: S101 - the interview has found one.
    files = (
        cloud.key_file,
        cloud.connection_string_file,
        cloud.x509_cert_file,
        cloud.x509_key_file,
    )
    named = {file.name for file in files if file is not None}
    for name in meaning.SECRETS:
        if name not in named:
            changes.remove(f"{SERVICE_CREDENTIALS}/{name}")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore signals in the block: Ctrl-C must not leave half of the changes."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# The final message.


def _advise_on_group_key(interview: Interview, config: Config) -> None:
    """Name the group's key that the service does not need, unless a central here needs it."""
    file, cloud = interview.options.group_key_file, config.cloud
    if file is None or (cloud is not None and is_loopback(cloud.provisioning_host)):
        return
    # Central's own authority stays in its directory.
    if not (file.parent / "ca-key.pem").exists():
        print(f"The service does not need the group key. Remove {file} from this machine.")


def _report(status: Status | None, config: Config, page: str) -> int:
    """Print how the daemon is. Return 1 if it is not connected."""
    see = "To see its readings: sudo sensor-agent status"
    if page:
        see += f", or {page}"
    if status is None:
        print(
            f"The service runs as {config.device.id}, but does not answer on its control socket. "
            "For its log: sudo journalctl -u sensor-agent",
            file=sys.stderr,
        )
        return FAILURE
    name, cloud = status.device_id, status.cloud
    if cloud is None:
        print(f"sensor-agent runs as {name}, without a cloud. {see}")
    elif cloud.hub is not None:
        print(f"sensor-agent runs as {name} and is connected to {cloud.hub}. {see}")
    else:
        print(
            f"sensor-agent runs as {name}, but is not connected: {service.why_not_connected(cloud)}"
            f" It keeps trying, and stores its readings meanwhile. {see}",
            file=sys.stderr,
        )
        return FAILURE
    return DONE

"""Runs the daemon in this process: signals, log, exit status."""

import asyncio
import faulthandler
import gc
import logging
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import NoReturn

from agent.cli import signals
from agent.cli.terminal import discard_output, leave, report
from agent.cloud.cloud_sink import cloud_sink
from agent.config.credentials import Credentials, check_again, sign_in
from agent.config.loader import Config, runtime_directory, state_directory
from agent.daemon.service import Places, Service
from agent.diagnostics.installation import with_advice
from agent.errors import AgentError, ConfigError, OutputError, SdkStuckError
from agent.logs import journal
from agent.logs.events import LogEvent
from agent.readings.sink import PrintingSink, Sink
from hw import DriverError, HardwareError

log = logging.getLogger(__name__)

DONE, FAILURE, CANNOT_WORK = 0, 1, 78


def run(config: Config, path: Path | None, read_file: Callable[[], Config]) -> NoReturn:
    """Run the daemon until SIGINT, SIGTERM or SIGHUP. A second signal ends it at once, status 1.

    `read_file` reads the file at `path` again. It raises ConfigError.
    """
    journal.configure(config.log.level, device_id=config.device.id or None)
    # If the daemon hangs, systemd's watchdog aborts it, and this prints where.
    faulthandler.enable()
    try:
        status = _run(config, path, read_file)
    except OutputError as error:
        status = report(error)
    leave(status)


def _run(config: Config, path: Path | None, read_file: Callable[[], Config]) -> int:
    try:
        places = Places(
            state=state_directory(os.environ, path),
            runtime=runtime_directory(os.environ, path),
            config=path,
        )
        named = config.device.id
        config, credentials = sign_in(
            config, base=Path.cwd() if path is None else path.parent, environ=os.environ
        )
        if config.device.id != named:  # The connection string has the id.
            journal.configure(config.log.level, device_id=config.device.id)
        service = Service(
            config,
            places=places,
            open_sink=_sink(config, credentials, places),
            read_config=None if path is None else partial(_read_again, config, path, read_file),
        )
        # The objects that exist now stay, so the garbage collector can skip them.
        gc.freeze()
        _until_signalled(service)
    except (ConfigError, DriverError) as error:
        why = error.mistakes if isinstance(error, ConfigError) else [with_advice(error)]
        journal.refuse(why, status=CANNOT_WORK)
        return CANNOT_WORK
    except OutputError:
        raise
    except SdkStuckError as error:
        return _ends(error, LogEvent.SDK_STUCK, FAILURE)
    except (AgentError, HardwareError) as error:
        return _ends(error, LogEvent.START_FAILED, FAILURE)
    except Exception:
        log.exception("The daemon failed.", extra=LogEvent.CRASHED.about())
        journal.notify(STATUS="Failed; see the traceback in the journal")
        return FAILURE
    return DONE


def _read_again(running: Config, path: Path, read_file: Callable[[], Config]) -> Config:
    """Read the configuration file and check what it names. Raises ConfigError."""
    config = read_file()
    check_again(config, running=running, base=path.parent, environ=os.environ)
    return config


def _sink(
    config: Config, credentials: Credentials | None, places: Places
) -> Callable[[Service], AbstractAsyncContextManager[Sink]]:
    """Return a function that opens the sink of this configuration."""
    if config.cloud is None or credentials is None:
        print(
            f"Printing a reading every {config.sensor.interval:g} s, without sending it. "
            "To try everything: sensor-agent demo"
        )
        return lambda service: nullcontext(
            PrintingSink(
                lambda line: _show(line, service.stop),
                service.status_changed,
                unit=config.sensor.unit,
            )
        )
    return partial(
        cloud_sink,
        config=config,
        cloud=config.cloud,
        credentials=credentials,
        state=places.state,
    )


def _ends(error: Exception, event: LogEvent, status: int) -> int:
    """Report why the daemon ends, in the journal and in `systemctl status`."""
    log.error("%s", error, extra=event.about(STATUS=status))
    journal.notify(STATUS=str(error))
    return status


def _until_signalled(service: Service) -> None:
    loop = asyncio.new_event_loop()
    signals.catch(loop, service.stop.set, _leave_at_once)
    try:
        loop.run_until_complete(service.run())
    # Not except*: before Python 3.11.4 an exception that its block raises is wrapped in a group.
    except BaseExceptionGroup as group:
        expected, others = group.split((AgentError, HardwareError))
        if expected is None or others is not None:
            raise
        raise _first(expected) from group


def _show(line: str, stop: asyncio.Event) -> None:
    """Print a reading. If the terminal is closed, stop the daemon, as SIGHUP would."""
    try:
        print(line, flush=True)
    except OutputError as error:
        if not error.terminal_is_gone:
            raise
        discard_output()
        stop.set()


def _leave_at_once() -> None:
    log.warning("Ending at once after a second signal.", extra=LogEvent.ENDED_AT_ONCE.about())
    leave(FAILURE)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

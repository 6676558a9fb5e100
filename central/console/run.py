"""Runs central with its console."""

import asyncio
import json
import logging
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from central.application import Central, Settings
from central.errors import CentralError, in_words
from central.server import open_server

MOST_FILES = 16_384

Catch = Callable[[asyncio.AbstractEventLoop, Callable[[], object]], None]

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_central(settings: Settings) -> AsyncIterator[Central]:
    """Run central for as long as the `async with` block lasts. Raises StartError."""
    async with open_server(settings) as central:
        # Imported late, because aiohttp takes a while and central may fail to start.
        from central.console.app import start_console  # noqa: PLC0415 - see above

        console = await start_console(central)
        central.http = console.url
        central.console_fingerprint = console.fingerprint
        try:
            with _announced(central):
                log.info(
                    "Central listens on %s port %d. Its page: %s",
                    central.mqtt_host,
                    central.mqtt_port,
                    central.http,
                )
                yield central
                log.info("Central is stopping.")
        finally:
            await console.close()


def run(settings: Settings, *, catch: Catch, on_ready: Callable[[], None]) -> int:
    """Run central and print its addresses, until a signal stops it. Return the exit status.

    `catch(loop, stop)` must make signals call `stop` in the loop. `on_ready` is called when central
    listens and central.json says where.
    """
    _allow_many_files()
    try:
        asyncio.run(_run_until_signal(settings, catch, on_ready))
    except CentralError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:  # Such as a file of another user, or a full disk. It names the file.
        print(f"Central cannot run: {in_words(error)}.", file=sys.stderr)
        return 1
    return 0


def _allow_many_files() -> None:
    """Raise the limit of open files, which is often 1024, to what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run_until_signal(settings: Settings, catch: Catch, on_ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    catch(asyncio.get_running_loop(), stop.set)
    async with open_central(settings) as central:
        print(central.summary(), flush=True)
        on_ready()
        await stop.wait()


@contextmanager
def _announced(central: Central) -> Iterator[None]:
    """Keep central.json for scripts while central listens."""
    path = central.settings.data_dir / "central.json"
    temporary = path.with_suffix(".json.new")
    temporary.write_text(json.dumps(central.info(), indent=2) + "\n")
    temporary.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)

"""`sensor-agent central`: run the local IoT Central, with the models of the daemon; back it up."""

import json
import sys
import time
from functools import partial
from pathlib import Path

from agent.cli import signals
from agent.device import model
from agent.errors import in_words
from agent.logs import journal
from central.application import Settings
from central.console.run import run
from central.errors import CentralError
from central.storage import backup
from central.storage.data_directory import BEFORE
from central.storage.ownership import as_owner
from central.transport.certificates import issue_device_certificate
from central.transport.issuing import utc_now

DONE, FAILURE = 0, 1
MEGABYTE = 1_000_000


def run_central(
    *,
    data: Path,
    listen: str,
    http_port: int | None,
    room_socket: Path | None,
    id_scopes: int,
    console_listen: str,
    console_certificate: Path | None,
    console_key: Path | None,
    local_webhooks: bool,
) -> int:
    """Run central until SIGINT, SIGTERM or SIGHUP, and return the exit status."""
    journal.configure("info")
    templates = tuple(
        model.interface(dtmi) for dtmi in (model.CELSIUS, model.FAHRENHEIT, *model.COMPONENTS)
    )
    settings = Settings(
        data_dir=data,
        listen=listen,
        http_port=http_port,
        templates=templates,
        room_socket=room_socket,
        id_scopes=id_scopes,
        console_listen=console_listen,
        console_certificate=console_certificate,
        console_key=console_key,
        local_webhooks=local_webhooks,
    )
    return run(settings, catch=signals.catch, on_ready=partial(journal.notify, READY="1"))


def make_certificate(data: Path, device_id: str) -> int:
    """Make a certificate for a device; print the lines for its configuration file."""
    try:
        with as_owner(data):
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            certificate, key = issue_device_certificate(data, device_id, utc_now(time.time))
    except CentralError as error:
        print(error, file=sys.stderr)
        return FAILURE
    except OSError as error:
        print(f"Cannot write to {error.filename or data}: {in_words(error)}.", file=sys.stderr)
        return FAILURE
    print(f"x509_cert_file = {json.dumps(str(certificate.absolute()))}")
    print(f"x509_key_file = {json.dumps(str(key.absolute()))}")
    return DONE


def back_up(data: Path, file: Path) -> int:
    """Write a backup of central's data directory, also while central runs."""
    try:
        size = backup.back_up(data, file, time.time())
    except CentralError as error:
        print(error, file=sys.stderr)
        return FAILURE
    print(f"Saved {data} as {file} ({size / MEGABYTE:.1f} MB). It contains keys: keep it secret.")
    return DONE


def restore(data: Path, file: Path) -> int:
    """Replace the content of central's data directory by a backup."""
    try:
        had_content = backup.restore(data, file)
    except CentralError as error:
        print(error, file=sys.stderr)
        return FAILURE
    print(f"Restored {data} from {file}.")
    if had_content:
        print(f"Its earlier content is in {data / BEFORE}. Remove that when you need it no longer.")
    return DONE

"""`python -m central`: central without the rest of the program."""

import argparse
import json
import logging
import sys
from pathlib import Path

from agent import installation, signals, terminal
from agent.errors import MissingPackagesError
from central.errors import CentralError

LOOPBACK = "127.0.0.1"


def main() -> int:
    """Read the arguments and run."""
    return terminal.run(_main)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="central", description="IoT Central on this machine.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what it keeps")
    parser.add_argument(
        "--listen", default=LOOPBACK, metavar="ADDRESS", help="for devices (default: %(default)s)"
    )
    parser.add_argument(
        "--http-port", type=int, metavar="PORT", help="of the page (default: 8080 or the next)"
    )
    parser.add_argument(
        "--certificate",
        metavar="DEVICE",
        help="make a certificate that this device can sign in with, in place of a key; then end",
    )
    arguments = parser.parse_args()
    try:
        installation.need(installation.CENTRAL, what="python -m central", extra="central")
    except MissingPackagesError as error:
        print(error, file=sys.stderr)
        return 1
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if arguments.certificate is not None:
        return _make_certificate(arguments.data, arguments.certificate)
    from central.server import Settings, run  # noqa: PLC0415 - needs packages of an extra.

    settings = Settings(arguments.data, arguments.listen, http_port=arguments.http_port)
    return run(settings, catch=signals.catch)


def _make_certificate(data: Path, device_id: str) -> int:
    from central.certificates import issue_device_certificate  # noqa: PLC0415 - the same.

    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate, key = issue_device_certificate(data, device_id)
    except (CentralError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"x509_cert_file = {json.dumps(str(certificate.absolute()))}")
    print(f"x509_key_file = {json.dumps(str(key.absolute()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

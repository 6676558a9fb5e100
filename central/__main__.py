"""`python -m central`: central without the rest of the program."""

import argparse
import logging
import sys
from pathlib import Path

from central.listener import LOOPBACK
from central.server import Settings, run


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="central", description="IoT Central on this machine.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what it keeps")
    parser.add_argument(
        "--listen", default=LOOPBACK, metavar="ADDRESS", help="for devices (default: %(default)s)"
    )
    parser.add_argument(
        "--http-port", type=int, metavar="PORT", help="of the page (default: 8080 or the next)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = Settings(arguments.data, arguments.listen, http_port=arguments.http_port)
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())

"""Shorter deadlines of the connection, for tests in which something never answers."""

import sys

from agent.cli import parser
from agent.cloud import paho_client, session

DEADLINES = {
    (session, "CONNECT_DEADLINE"): 5.0,
    (session, "ANSWER_DEADLINE"): 8.0,
    (paho_client, "TLS_DEADLINE"): 4.0,
    (paho_client, "ROUND_TRIP"): 4.0,
}

if __name__ == "__main__":
    # The daemon with these deadlines.
    for (module, name), seconds in DEADLINES.items():
        setattr(module, name, seconds)
    sys.exit(parser.main(sys.argv[1:]))

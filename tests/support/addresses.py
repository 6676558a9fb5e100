"""Loopback addresses of this process alone.

The SDK knows one MQTT port, 8883, so each central of a test needs an address of its own, also
while other tests run beside it. A process claims 127.X.Y.0/24 by binding a socket there, and hands
out the addresses one by one. macOS has only 127.0.0.1: its tests run one after another.
"""

import itertools
import os
import socket
import sys

CLAIM_PORT = 1883
HOLDER = 254  # In each range, the address that is bound to claim it.
FIRST = 66  # 127.66 to 127.250; below are the addresses that people and central itself use.

_claims: list[socket.socket] = []


def _claim():
    start = os.getpid()
    for offset in range((251 - FIRST) * 250):
        network, subnet = divmod((start + offset) % ((251 - FIRST) * 250), 250)
        prefix = f"127.{FIRST + network}.{subnet}"
        claim = socket.socket()
        try:
            claim.bind((f"{prefix}.{HOLDER}", CLAIM_PORT))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return prefix
    raise RuntimeError("Other test runs hold every loopback address.")


def _addresses():
    if sys.platform == "darwin":
        yield from itertools.repeat("127.0.0.1")
    prefix = _claim()
    yield from (f"{prefix}.{n}" for n in itertools.cycle(range(1, HOLDER)))


_own = _addresses()


def own_address():
    """Return a loopback address that nothing else listens on; the 253 of a range take turns."""
    return next(_own)

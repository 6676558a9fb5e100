"""The names under which the console may be used.

A page of another origin must not use the operator's browser: neither under a name that its owner
points to this machine (DNS rebinding, detected by `Host`), nor with requests across origins
(detected by `Origin` and `Sec-Fetch-Site`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/?#\s]+)(?::[0-9]{1,5})?")


@dataclass
class Site:
    """The console's scheme, and its names as in URLs: lower case, an IPv6 address in brackets.

    A name `*.example.org` stands for all names one level below. Any port is right, because of
    `ssh -L`.
    """

    scheme: str
    names: frozenset[str]

    def has(self, host: str) -> bool:
        """Return whether the value of a header `Host` names this site."""
        found = HOST.fullmatch(host.lower())
        if found is None:
            return False
        name = found[1].removesuffix(".")
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names

    def is_origin(self, origin: str, host: str) -> bool:
        """Return whether a page of `origin` is this console's, requested as `host`."""
        return origin.lower() == f"{self.scheme}://{host.lower()}"


def url_names(names: Iterable[str]) -> frozenset[str]:
    """Return host names and addresses as they are in URLs."""
    return frozenset(f"[{name}]" if ":" in name else name.lower() for name in names)

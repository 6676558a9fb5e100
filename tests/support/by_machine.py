"""Tests of one machine in one process, beside those of another machine."""

import re

from containers import MORE
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # It has no types.


class ByMachine(LoadScopeScheduling):  # type: ignore[misc] # As above.
    """Have each machine's tests run in one process, beside the other machine's.

    pytest 9.2 ignores the marks of `--dist loadgroup`:
    https://github.com/pytest-dev/pytest-xdist/issues/1386
    """

    def _split_scope(self, nodeid):
        parameters = re.split(r"[\[\]-]", nodeid)
        return next((suite for suite in MORE if suite in parameters), nodeid)

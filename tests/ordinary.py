"""Doing things as somebody for whom modes count, whoever runs the tests."""

import os
import sys
from pathlib import Path

SOURCES = Path(__file__).parent.parent

# Root ignores modes. Without these two capabilities it obeys them like any owner, and can still
# read an interpreter that lies where only root may look.
WITHOUT_ROOTS_POWER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]

AS_ORDINARY_USER = [
    *(WITHOUT_ROOTS_POWER if os.getuid() == 0 else []),
    *(sys.executable, "-m", "agent"),
]

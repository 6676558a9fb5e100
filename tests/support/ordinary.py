"""Programs that obey file modes, whoever runs the tests."""

import os
import sys

from places import SUPPORT

# Root ignores modes.
OBEYING_MODES = [sys.executable, str(SUPPORT / "obey_modes.py")] if os.getuid() == 0 else []
AS_ORDINARY_USER = [*OBEYING_MODES, sys.executable, "-m", "agent"]

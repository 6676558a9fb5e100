"""`python -m agent` is `sensor-agent`."""

import sys

from agent.cli import main

sys.exit(main())

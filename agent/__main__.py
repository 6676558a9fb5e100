"""`python -m agent` is `sensor-agent`."""

import sys

from agent.cli.parser import main

sys.exit(main())

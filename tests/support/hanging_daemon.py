"""The daemon, whose disk and LED hang once FILE exists: `hanging_daemon.py FILE ARGUMENTS...`."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.cli import parser
from hw.leds.fake_led import SimulatedLed


def hanging(call: Callable[..., Any], sign: Path) -> Callable[..., Any]:
    def hangs(*arguments: Any) -> Any:
        if sign.exists():
            threading.Event().wait()
        return call(*arguments)

    return hangs


if __name__ == "__main__":
    file, *rest = sys.argv[1:]
    os.fsync = hanging(os.fsync, Path(file))
    os.fdatasync = hanging(os.fdatasync, Path(file))
    SimulatedLed._drive = hanging(SimulatedLed._drive, Path(file))  # type: ignore[method-assign]
    sys.exit(parser.main(rest))

import subprocess
import sys

from places import ROOT


def test_help_imports_neither_the_sdk_nor_the_console():
    program = (
        "import sys; from agent.cli.parser import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as done: assert not done.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert "usage: sensor-agent" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "agent" in loaded
    assert not loaded & {"azure", "paho", "requests", "aiohttp", "trustme", "gpiozero", "central"}

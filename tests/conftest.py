"""What all tests share, and how a run ends: what was skipped, and what would enable it."""

import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Whether an example is quick says something about the machine, not about the code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

# What systemd or make say to the process that runs the tests is not meant for what they start.
MEANT_FOR_THIS_PROCESS = """
    NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID JOURNAL_STREAM INVOCATION_ID
    CREDENTIALS_DIRECTORY STATE_DIRECTORY RUNTIME_DIRECTORY
    MAKEFLAGS MAKELEVEL MFLAGS
"""
for name in MEANT_FOR_THIS_PROCESS.split():
    os.environ.pop(name, None)

NO_SKIPS = os.environ.get("NO_SKIPS") == "1"
"""Whether a skipped test fails: where every optional tool is installed, as in `.ci/run`."""


@pytest.fixture
def ordinary_place():
    """A directory that an ordinary user can reach and write to, whoever runs the tests."""
    place = Path(tempfile.mkdtemp(prefix="sensor-agent-", dir="/tmp"))
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def default_signals():
    """Signals as in a terminal: nohup ignores SIGHUP, and a script's background jobs SIGINT."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    return _without_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    report = yield
    return _without_skip(report)


def _without_skip(report):
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"With NO_SKIPS=1 nothing may be skipped, but: {report.longrepr[2]}"
    return report


def pytest_terminal_summary(terminalreporter):
    """Sum up what was skipped, a line for each reason."""
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
    )
    if skipped:
        terminalreporter.section("skipped, and what would enable it")
        for reason, count in skipped.most_common():
            terminalreporter.line(f"{count:4} {reason}")

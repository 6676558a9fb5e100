"""Runs the checks, and puts the result into words.

In the daemon they answer the command rundiagnostics and `sensor-agent check`. If no daemon is
running, `sensor-agent check` runs them itself.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import agent.diagnostics.checks  # noqa: F401 - registers the checks.
from agent.config.loader import Config, load, with_fake_hardware
from agent.diagnostics import CHECKS_BUDGET
from agent.diagnostics.examination import Examination
from agent.diagnostics.finding import Finding, Outcome, failed, plural, skipped
from agent.diagnostics.registry import CHECKS, find
from agent.diagnostics.status_text import summary
from agent.errors import ConfigError, quote
from agent.status import Status

IDS = tuple(CHECKS)

Findings = list[tuple[str, Finding]]


def chosen(only: Sequence[str], skip: Sequence[str]) -> list[str]:
    """Return the ids of the checks to run, in their order.

    A name selects the check of that id, and all whose ids begin with it and a hyphen: `hub` selects
    `hub-dns`, `hub-tcp` and `hub-tls`. Raises ValueError for a name that selects none.
    """

    def selected(names: Sequence[str]) -> set[str]:
        found = set()
        for name in names:
            these = {one for one in IDS if one == name or one.startswith(f"{name}-")}
            if not these:
                raise ValueError(
                    f"There is no check {quote(name)}. The checks are {', '.join(IDS)}."
                )
            found |= these
        return found

    wanted = (selected(only) or set(IDS)) - selected(skip)
    return [one for one in IDS if one in wanted]


def examine(
    examination: Examination,
    ids: Iterable[str],
    *,
    budget: float = float("inf"),
    now: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[str, Finding]]:
    """Run these checks one after the other, each within its deadline, all within `budget` seconds.

    A check that raises or does not end is a failure; its thread is abandoned.
    """
    end = now() + budget
    with examination.resources:
        for name in ids:
            left = end - now()
            if left <= 0:
                yield name, skipped("there was no time left")
            else:
                deadline = min(left, CHECKS[name].deadline)
                yield name, _within(deadline, name, examination)


def _within(deadline: float, name: str, examination: Examination) -> Finding:
    def work() -> None:
        try:
            find(name, examination)
        except Exception as error:  # noqa: BLE001 - the other checks must run.
            examination.findings[name] = failed(
                f"The check itself failed: {error!r}.",
                "Please report it, with the file from: sensor-agent check --report FILE",
            )

    # A daemon thread does not keep the process from ending.
    thread = threading.Thread(target=work, name="check", daemon=True)
    thread.start()
    thread.join(deadline)
    return examination.findings.setdefault(
        name,
        failed(
            f"The check did not end within {deadline:.0f} s.",
            "A disk may hang (dmesg | grep mmcblk), or the network (see the checks before).",
        ),
    )


def inside(
    config: Config,
    path: Path | None,
    *,
    state: Path,
    status: Status,
    hub: str | None,
    ids: Sequence[str] = IDS,
) -> Findings:
    """Run the checks in a thread of the daemon, without disturbing it.

    `config` is the daemon's configuration, `status` its status, `hub` its last known hub.
    """
    examination = Examination(
        config=config, path=path, state=state, status=status, hub=hub, config_in_file=config
    )
    if path is not None:
        try:
            in_file = load(path)
        except ConfigError as error:
            examination.mistakes = error.mistakes
        else:
            has_fakes = config == with_fake_hardware(config)
            examination.config_in_file = with_fake_hardware(in_file) if has_fakes else in_file
    return list(examine(examination, ids, budget=CHECKS_BUDGET))


def counted(findings: Findings) -> str:
    """Return the number of checks, and of each outcome."""
    counts = Counter(finding.outcome for _, finding in findings)
    parts = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)
    return f"{plural(len(findings), 'check')}: {parts}"


def diagnosis(findings: Findings, status: Status) -> str:
    """Return the answer to rundiagnostics: what is wrong, worst first, and then the status."""
    wrong = [
        f"{finding.outcome}: {name}: {finding.line} {finding.advice}"
        for outcome in (Outcome.FAILED, Outcome.WARNING)
        for name, finding in findings
        if finding.outcome is outcome
    ]
    return "\n".join([counted(findings), *wrong, summary(status)])

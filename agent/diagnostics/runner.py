"""What is right and what is wrong: makes the checks, and says in words how the daemon is.

The checks themselves are in `agent.diagnostics.checks`. In the daemon they answer the command
rundiagnostics and `sensor-agent check`. If no daemon is running, the command runs them itself.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.config.credentials import Credentials, read_credentials, secret_files
from agent.config.loader import Config, load, with_fake_hardware
from agent.device.information import software_version
from agent.diagnostics.checks.finding import Finding, Outcome, failed, plural, skipped
from agent.diagnostics.examination import DEADLINE, DEADLINES, IDS, Check, Examination
from agent.diagnostics.status_text import summary
from agent.errors import ConfigError
from agent.status import Status

BUDGET = 24.0  # Seconds for all checks in the daemon: whoever asks waits no longer than 30.

Findings = list[tuple[str, Finding]]


def chosen(only: Sequence[str], skip: Sequence[str]) -> list[str]:
    """Return the ids of the checks to make, in their order.

    A name stands for the check of that id, and for all whose ids begin with it and a hyphen:
    `hub` for `hub-dns`, `hub-tcp` and `hub-tls`. Raises ValueError for one that means none.
    """

    def meant(names: Sequence[str]) -> set[str]:
        found = set()
        for name in names:
            these = {one for one in IDS if one == name or one.startswith(f"{name}-")}
            if not these:
                raise ValueError(f"There is no check {name!r}; there are {', '.join(IDS)}.")
            found |= these
        return found

    wanted = (meant(only) or set(IDS)) - meant(skip)
    return [one for one in IDS if one in wanted]


def examine(
    checks: Mapping[str, Check],
    ids: Sequence[str],
    *,
    budget: float = float("inf"),
    now: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[str, Finding]]:
    """Make these checks, one after the other, each under a deadline, all within `budget` seconds.

    A check that fails itself, or does not end, is told as failed; its thread is abandoned.
    """
    end = now() + budget
    for name in ids:
        left = end - now()
        if left <= 0:
            yield name, skipped("there was no time left")
        else:
            yield name, _within(checks[name], min(left, DEADLINES.get(name, DEADLINE)))


def _within(check: Check, deadline: float) -> Finding:
    found: list[Finding] = []

    def work() -> None:
        try:
            found.append(check())
        except Exception as error:  # noqa: BLE001 - one check that breaks must not end the others.
            found.append(
                failed(
                    f"The check itself failed: {error!r}.",
                    "Please report it, with the output of sensor-agent check --report FILE.",
                )
            )

    # A daemon thread: one that never ends must not keep the process from ending.
    thread = threading.Thread(target=work, name="check", daemon=True)
    thread.start()
    thread.join(deadline)
    if found:
        return found[0]
    return failed(
        f"The check did not come to an end within {deadline:.0f} s.",
        "Something hangs: a disk (dmesg | grep mmcblk) or the network (the checks before it).",
    )


def examination(
    config: Config,
    path: Path | None,
    mistakes: Sequence[str],
    *,
    store: Path,
    environ: Mapping[str, str] = os.environ,
    **more: Any,
) -> Examination:
    """Return an examination of this machine; `store` is the daemon's file, `more` its options."""
    base = Path.cwd() if path is None else path.parent

    def secrets(config: Config) -> Credentials:
        assert config.cloud is not None  # noqa: S101 - the checks ask only if there is one.
        return read_credentials(
            config.cloud, device_id=config.device.id, base=base, environ=environ
        )

    named: Sequence[Path] = ()
    if config.cloud is not None:
        named = secret_files(config.cloud, base=base, environ=environ)
    return Examination(
        config=config,
        path=path,
        mistakes=mistakes,
        store=store,
        installed=software_version(),
        secrets=secrets,
        secret_files=named,
        may_use=lambda file: os.access(file, os.R_OK | os.W_OK),
        is_root=os.geteuid() == 0,
        **more,
    )


def inside(
    config: Config,
    path: Path | None,
    *,
    store: Path,
    status: Status,
    hub: str | None,
    ids: Sequence[str] = IDS,
) -> Findings:
    """Make the checks in the daemon, in a thread: nothing here is done that would disturb it.

    `config` is what it runs by, `status` what it says of itself, `hub` the last one it knew.
    """
    mistakes: Sequence[str] = ()
    read = config
    if path is not None:
        try:
            read = load(path)
        except ConfigError as error:
            mistakes = error.mistakes
        if config == with_fake_hardware(config):
            read = with_fake_hardware(read)
    with examination(
        config,
        path,
        mistakes,
        store=store,
        status=status,
        inside=True,
        hub=hub,
        config_in_file=read,
    ) as examined:
        return list(examine(examined.checks(), ids, budget=BUDGET))


def counted(findings: Findings) -> str:
    """Say how many checks came out how."""
    counts = Counter(finding.outcome for _, finding in findings)
    parts = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)
    return f"{plural(len(findings), 'check')}: {parts}"


def diagnosis(findings: Findings, status: Status) -> str:
    """Say what is wrong, worst first, and then how the daemon is: what the operator gets."""
    wrong = [
        f"{finding.outcome}: {name}: {finding.line} {finding.advice}"
        for outcome in (Outcome.FAILED, Outcome.WARNING)
        for name, finding in findings
        if finding.outcome is outcome
    ]
    return "\n".join([counted(findings), *wrong, summary(status)])

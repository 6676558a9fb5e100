"""The checks by id: `@check("clock")` on a function of `agent.diagnostics.checks` adds one."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from agent.diagnostics.examination import Examination
from agent.diagnostics.finding import Finding, Outcome, skipped

DEADLINE = 8.0  # Seconds.
WRONG = {Outcome.FAILED, Outcome.WARNING}

CheckFunction = Callable[[Examination], Finding]


@dataclass(frozen=True, slots=True)
class Check:
    """A check. `deadline` is in seconds, `needs` are the ids of other checks."""

    function: CheckFunction
    deadline: float
    needs: tuple[str, ...]


CHECKS: dict[str, Check] = {}
"""In the order in which they run and are printed."""


def check(
    name: str, *, deadline: float = DEADLINE, needs: tuple[str, ...] = ()
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function as the check `name`.

    If a check that it needs has failed, it is skipped. That does not apply in the daemon, which
    has a configuration that works and holds the devices itself.
    """

    def register(function: CheckFunction) -> CheckFunction:
        if name in CHECKS:
            raise ValueError(f"There are two checks {name!r}.")
        CHECKS[name] = Check(function, deadline, needs)
        return function

    return register


def find(name: str, examination: Examination) -> Finding:
    """Run a check and those it needs, each once for an examination."""
    found = examination.findings
    if name not in found:
        needs = () if examination.is_in_daemon else CHECKS[name].needs
        for needed in needs:
            if find(needed, examination).outcome is Outcome.FAILED:
                found[name] = skipped(f"the check {needed} failed")
                break
        else:
            found[name] = _referring(CHECKS[name].function(examination), examination)
    return found[name]


def _referring(finding: Finding, examination: Examination) -> Finding:
    """Return the finding with its advice, or with a reference to the checks that found the cause.

    A check that says ok is never referred to.
    """
    bad = [one for one in finding.see if find(one, examination).outcome in WRONG]
    advice = f"See the check{'s' * (len(bad) > 1)} {' and '.join(bad)}." if bad else finding.advice
    return replace(finding, advice=advice, see=())

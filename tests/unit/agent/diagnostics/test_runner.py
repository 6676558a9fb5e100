import threading

import pytest
from examinations import examination
from hypothesis import given
from hypothesis import strategies as st
from statuses import STATUS

from agent.device.commands import MAX_DIAGNOSTICS, shorten
from agent.diagnostics import CHECKS_BUDGET, registry, runner
from agent.diagnostics.finding import Finding, Outcome, failed, ok, skipped, warning
from agent.diagnostics.registry import CHECKS, DEADLINE, Check
from agent.diagnostics.runner import IDS, chosen, counted, diagnosis, examine


def test_without_options_every_check_is_chosen():
    assert chosen([], []) == list(IDS)


@pytest.mark.parametrize(
    ("only", "skip", "ids"),
    [
        (["led"], [], ["led"]),
        (["hub"], [], ["hub-dns", "hub-tcp", "hub-tls"]),
        (["sensor", "gpio"], ["gpio-lines"], ["gpio-access", "gpio-overlay", "sensor"]),
        (["disk"], ["disk"], []),
    ],
)
def test_checks_are_chosen_by_id_or_prefix(only, skip, ids):
    assert chosen(only, skip) == ids


@pytest.mark.parametrize("name", ["lid", "", "hub-", "hub-d"])
def test_an_unknown_name_is_refused_with_the_list(name):
    with pytest.raises(ValueError, match="The checks are daemon, configuration"):
        chosen([name], [])


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run(checks, **options):
        registered = {name: Check(one, 0.05, ()) for name, one in checks.items()}
        for module in (runner, registry):
            monkeypatch.setattr(module, "CHECKS", registered)
        return dict(examine(examination(tmp_path), checks, **options))

    return run


def test_a_check_that_raises_does_not_end_the_others(run):
    found = run({"a": lambda _: 1 / 0, "b": lambda _: ok("Good.")})
    assert found["a"].outcome is Outcome.FAILED
    assert "ZeroDivisionError" in found["a"].line
    assert found["b"] == ok("Good.")


def test_a_check_that_hangs_is_abandoned(run):
    release = threading.Event()
    found = run({"a": lambda _: ok(str(release.wait(60)))})
    release.set()
    assert found["a"].outcome is Outcome.FAILED
    assert "did not end within" in found["a"].line


def test_checks_beyond_the_budget_are_skipped(run):
    times = iter([0.0, 1.0, 5.0])
    found = run(dict.fromkeys("ab", lambda _: ok("x")), budget=4.0, now=lambda: next(times))
    assert found == {"a": ok("x"), "b": skipped("there was no time left")}


def test_every_needed_check_exists_and_runs_before():
    for name, one in CHECKS.items():
        assert all(IDS.index(needed) < IDS.index(name) for needed in one.needs)
    # In the daemon, a check that hangs leaves time for the answer.
    assert DEADLINE < CHECKS_BUDGET < 30 - 4


FOUND = [
    ("clock", warning("It says 1970.", "Set it.")),
    ("sensor", ok("Fine.")),
    ("led", failed("It is dark.", "Look.")),
    ("hub-dns", skipped("there is no hub")),
]


def test_failures_come_first_then_warnings_then_the_status():
    assert counted(FOUND) == "4 checks: 1 ok, 1 warning, 1 failed, 1 skipped"
    assert counted(FOUND[:1]).startswith("1 check: ")
    first, *lines = diagnosis(FOUND, STATUS).splitlines()
    assert first == counted(FOUND)
    assert lines[0] == "failed: led: It is dark. Look."
    assert lines[1] == "warning: clock: It says 1970. Set it."
    assert lines[2] == "sensor-agent 1.2.3 on pi-1"


def test_a_diagnosis_fits_even_if_every_check_fails():
    wrong = [(name, failed("It is wrong. " * 8, "Do this. " * 8)) for name in IDS]
    told = shorten(diagnosis(wrong, STATUS), MAX_DIAGNOSTICS)
    assert len(told.encode()) <= MAX_DIAGNOSTICS
    assert told.startswith(f"{len(IDS)} checks: 0 ok")
    healthy = diagnosis([(name, ok("Fine.")) for name in IDS], STATUS)
    assert len(healthy.encode()) < MAX_DIAGNOSTICS / 4


@given(
    st.builds(
        Finding,
        st.sampled_from(Outcome),
        st.text(),
        st.none() | st.text(),
        st.lists(st.text()).map(tuple),
    )
)
def test_a_finding_is_the_same_after_json(finding):
    assert Finding.from_json(finding.as_json()) == finding

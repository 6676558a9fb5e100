"""GitHub's workflows: each action is pinned, and each job has no more permissions than it needs.

A strict reading in place of a YAML parser, which is not among the packages of the tests: the files
have the plain form that is checked first.
"""

import re

import pytest
from places import ROOT

WORKFLOWS = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / ".github" / "workflows").iterdir())
}
PINNED = re.compile(r"([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+(?:\.\d+)*)")
# What may write, and what for.
WRITES = {
    ("release.yml", "attest"): {"id-token", "attestations"},
    ("release.yml", "pypi"): {"id-token"},
    ("release.yml", "page"): {"contents"},
}
every_workflow = pytest.mark.parametrize("name", WORKFLOWS)


def jobs(text):
    """Return the lines of each job by its name."""
    parts = re.split(r"^  ([a-z-]+):\n", text.partition("\njobs:\n")[2], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def steps(job):
    """Return each step of a job."""
    return re.split(r"^      - ", job.partition("    steps:\n")[2], flags=re.MULTILINE)[1:]


def permissions(job):
    block = re.search(r"^    permissions:\n((?:      .+\n)+)", job, re.MULTILINE)
    assert block
    return dict(line.strip().split(": ") for line in block[1].splitlines())


JOBS = [(name, job, text) for name, file in WORKFLOWS.items() for job, text in jobs(file).items()]
every_job = pytest.mark.parametrize(("name", "job", "text"), JOBS)


def test_there_are_workflows_for_changes_and_releases():
    assert list(WORKFLOWS) == ["ci.yml", "release.yml"]
    assert len(JOBS) == 8


@every_workflow
def test_the_file_has_the_plain_form_that_these_tests_read(name):
    text = WORKFLOWS[name]
    assert "\t" not in text
    assert text.count("uses:") == len(re.findall(r"^ {6}(?:- |  )uses: \S", text, re.MULTILINE))
    assert text.count("permissions:") == 1 + len(jobs(text))
    assert "<<:" not in text
    assert not re.search(r"[&*]\w+$", text, re.MULTILINE)


@every_workflow
def test_every_action_is_pinned_to_a_full_hash_with_its_version(name):
    used = re.findall(r"uses: (.*)$", WORKFLOWS[name], re.MULTILINE)
    assert used
    for action in used:
        assert PINNED.fullmatch(action), action


def test_an_action_has_the_same_version_everywhere():
    pins = {match[0] for text in WORKFLOWS.values() for match in PINNED.finditer(text)}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


@every_workflow
def test_a_workflow_gives_no_permissions_to_all_its_jobs(name):
    assert re.search(r"^permissions: \{\}$", WORKFLOWS[name], re.MULTILINE)


@every_job
def test_a_job_has_only_the_permissions_it_needs(name, job, text):
    writes = {what for what, kind in permissions(text).items() if kind == "write"}
    assert writes == WRITES.get((name, job), set())
    assert set(permissions(text).values()) <= {"read", "write"}


@every_job
def test_a_job_that_may_write_runs_nothing_of_the_project(name, job, text):
    if (name, job) in WRITES:
        assert "actions/checkout@" not in text
        assert not re.search(r"\b(make|python|pip|sh) ", text)


@every_job
def test_a_job_ends_by_itself(name, job, text):
    assert re.search(r"^    timeout-minutes: \d+$", text, re.MULTILINE)
    assert re.search(r"^    runs-on: ubuntu-\d+\.\d+$", text, re.MULTILINE)


@every_job
def test_no_step_has_a_password_or_pastes_an_expression_into_a_script(name, job, text):
    assert "secrets." not in text
    for step in steps(text):
        if "actions/checkout@" in step:
            assert "persist-credentials: false" in step
        script = re.search(r"(?:^|\n {8})run: (.*)", step, re.DOTALL)
        assert script is None or "${{" not in script[1], step


@every_job
def test_every_target_of_make_exists(name, job, text):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"run: make (\S+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_nothing_from_a_fork_is_run_with_permissions_of_this_repository():
    for text in WORKFLOWS.values():
        assert "pull_request_target" not in text
        assert "workflow_run" not in text

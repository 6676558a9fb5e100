"""Runs beside each other share the cache of tests/system, and may be of different branches."""

import os
import subprocess
import time

import pytest
from places import ROOT

TWO_DAYS = 2 * 86400.0


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "sensor-agent-tests").mkdir()
    return tmp_path / "sensor-agent-tests"


def run(cache, script):
    command = f'. "{ROOT}/tests/system/machines.sh"\nset -eu\n{script}'
    environ = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache.parent)}
    subprocess.run(["sh", "-c", command], check=True, env=environ, timeout=60)


def make(directory, *, last_used=0.0):
    directory.mkdir()
    (directory / "made").write_text(directory.name)
    os.utime(directory, (time.time() - last_used,) * 2)
    return directory


def test_a_kernel_that_another_run_uses_stays_when_a_new_one_is_kept(cache, tmp_path):
    used, unused = make(cache / "kernel-a"), make(cache / "kernel-b", last_used=TWO_DAYS)
    of_another_kind = make(cache / "pi3-a", last_used=TWO_DAYS)
    run(cache, f'keep "{make(tmp_path / "out")}" "$cache/kernel-c"')
    assert (cache / "kernel-c/made").read_text() == "out"
    assert used.exists()
    assert of_another_kind.exists()
    assert not unused.exists()


def test_an_old_entry_that_a_run_begins_to_use_stays(cache, tmp_path):
    old = make(cache / "kernel-a", last_used=TWO_DAYS)
    run(cache, 'is_cached "$cache/kernel-a"')
    run(cache, f'keep "{make(tmp_path / "out")}" "$cache/kernel-c"')
    assert old.exists()


def test_the_second_of_two_runs_that_made_the_same_takes_what_the_first_kept(cache, tmp_path):
    make(cache / "kernel-a")
    run(cache, f'keep "{make(tmp_path / "out")}" "$cache/kernel-a"')
    assert (cache / "kernel-a/made").read_text() == "kernel-a"
    assert not (cache / "kernel-a/out").exists()

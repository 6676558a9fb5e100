"""The package files: the same bytes each time, clean, and without traces of the machine."""

import filecmp
import getpass
import os
import subprocess

import build_debs
import pytest
from places import ROOT


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("built")
    return [build_debs.build(package, place) for package in build_debs.PACKAGES]


def test_they_are_the_same_bytes_each_time(files, tmp_path):
    before = os.umask(0o077)
    try:
        again = [build_debs.build(package, tmp_path) for package in build_debs.PACKAGES]
    finally:
        os.umask(before)
    for first, second in zip(files, again, strict=True):
        assert filecmp.cmp(first, second, shallow=False), first.name


def test_lintian_finds_no_error(files):
    done = subprocess.run(
        ["lintian", "--allow-root", "--no-cfg", "--fail-on=error,warning", *files],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_they_hold_no_path_of_this_machine(files, tmp_path):
    for file in files:
        subprocess.run(["dpkg-deb", "--raw-extract", file, tmp_path / file.stem], check=True)
    for trace in {str(ROOT), f"/home/{getpass.getuser()}/"}:
        found = subprocess.run(
            ["grep", "-rlF", trace, tmp_path], capture_output=True, text=True, check=False
        )
        assert found.stdout == ""


def test_everything_is_roots_and_nothing_compiled_is_for_all_machines(files):
    for file in files:
        listed = subprocess.run(
            ["dpkg-deb", "--contents", file], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        assert {line.split()[1] for line in listed} == {"root/root"}
        assert not [line for line in listed if line.endswith((".so", ".pyc"))]
        programs = [line for line in listed if "pulsein" in line and not line.endswith(".license")]
        helpers = [line for line in programs if not line.endswith((".py", "/"))]
        assert len(helpers) == (not file.stem.endswith("_all"))

"""Targets of the Makefile name what they lack before anything is set up for them."""

import os
import subprocess
from pathlib import Path

import pytest
from places import ROOT
from scripts import write_program


def checked(*arguments, path=None, cwd=ROOT, **environ):
    kept = {"PATH": path or os.environ["PATH"]}
    return subprocess.run(
        ["sh", ROOT / "tests/system/preconditions.sh", *arguments],
        cwd=cwd, env=kept | environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.fixture
def bare(tmp_path):
    """A PATH with what every Debian has, and nothing that a test would need besides."""
    for program in ("apt-get", "id", "uname", "tr", "sh", "unshare", "nsenter"):
        write_program(tmp_path / program, f'exec /usr/bin/{program} "$@"')
    write_program(tmp_path / "uname", "echo x86_64")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("target", "missing"),
    [
        ("service", "mmdebstrap systemd-container"),
        ("everywhere", "mmdebstrap systemd-container"),
        ("kernel", "mmdebstrap qemu-system-x86 cpio"),
        ("pi3", "mmdebstrap qemu-system-arm cpio device-tree-compiler"),
    ],
)
def test_missing_programs_are_named_with_their_packages(bare, target, missing):
    # /usr/sbin is searched too, so the programs there cannot be hidden.
    done = checked(target, path=bare)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"make test-{target} needs more programs.")
    assert sentence.endswith(f"sudo apt-get install {missing}")


def test_elsewhere_than_on_debian_the_system_is_named(bare, tmp_path):
    (tmp_path / "apt-get").unlink()
    done = checked("service", path=bare)
    assert done.returncode == 1
    assert "runs on Debian and systems derived from it only." in done.stderr


def test_another_processor_is_named(bare, tmp_path):
    write_program(tmp_path / "uname", "echo aarch64")
    done = checked("kernel", path=bare)
    assert done.returncode == 1
    assert "run it on x86-64" in done.stderr


@pytest.mark.parametrize(("user", "advice"), [("1000", "sudo make test-service"), ("0", "")])
def test_rights_that_are_missing_are_named(bare, tmp_path, user, advice):
    for program in ("mmdebstrap", "systemd-nspawn", "nsenter", "id", "unshare"):
        write_program(tmp_path / program, "exit 1")
    write_program(tmp_path / "id", f"echo {user}")
    done = checked("service", path=bare)
    assert done.returncode == 1
    assert (advice or "Start the container privileged") in done.stderr


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ([], True),
        (["--quick"], True),
        (["trixie-user-bare", "bookworm-root-tools"], True),
        (["--quick", "trixie-user-bare"], False),
    ],
)
def test_npm_packages_are_needed_for_cells_with_tools(bare, tmp_path, arguments, needed):
    for program in ("mmdebstrap", "systemd-nspawn", "id", "unshare"):
        write_program(tmp_path / program, "echo 0")
    done = checked("everywhere", *arguments, path=bare, cwd=tmp_path)
    assert done.returncode == int(needed)
    assert ("npm install --prefix tests/support/node" in done.stderr) == needed


def test_the_variables_that_azure_needs_are_named(tmp_path):
    done = checked("azure", AZURE_APP="https://x.azureiotcentral.com")
    assert done.returncode == 1
    assert "AZURE_TOKEN_FILE AZURE_ID_SCOPE AZURE_GROUP_KEY_FILE" in done.stderr
    assert "AZURE_APP" not in done.stderr
    absent = str(tmp_path / "absent")
    given = {"AZURE_APP": "x", "AZURE_ID_SCOPE": "x"}
    done = checked("azure", AZURE_TOKEN_FILE=absent, AZURE_GROUP_KEY_FILE=absent, **given)
    assert f"cannot read {absent}, which AZURE_TOKEN_FILE names" in done.stderr
    here = __file__
    assert checked("azure", AZURE_TOKEN_FILE=here, AZURE_GROUP_KEY_FILE=here, **given).stderr == ""


def test_without_a_raspberry_pi_the_report_can_still_be_seen():
    model = Path("/proc/device-tree/model")
    if not (model.exists() and "Raspberry Pi" in model.read_text()):
        assert "make test-pi ARGS=--fake-hw" in checked("pi").stderr
    assert checked("pi", "--count", "3", "--fake-hw").returncode == 0

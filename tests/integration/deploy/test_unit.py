"""The unit, as far as it can be judged without being run."""

import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
from optional import need_program
from places import ROOT

DEPLOY = ROOT / "deploy"


@pytest.mark.parametrize(
    ("unit", "additions", "tenths"),
    [
        ("sensor-agent.service", (), 15),
        ("sensor-agent.service", ("adafruit.conf",), 17),
        ("sensor-agent.service", ("clock.conf",), 15),
        ("sensor-agent.service", ("adafruit.conf", "clock.conf"), 17),
        ("sensor-agent-central.service", (), 12),
    ],
)
def test_its_exposure_is_small(tmp_path, unit, additions, tenths):
    need_program("systemd-analyze", package="systemd")
    if os.getuid() != 0 and not Path("/run/systemd").exists():
        # systemd-analyze would create it. A booted system has it.
        pytest.skip("systemd is not running, and systemd-analyze wants /run/systemd: run as root")
    shutil.copy2(DEPLOY / unit, tmp_path)
    place = tmp_path / f"{unit}.d"
    place.mkdir()
    for addition in additions:
        shutil.copy2(DEPLOY / addition, place)

    def within(tenths):
        return subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager",
             f"--threshold={tenths}", f"./{unit}"],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    done = within(tenths)
    assert done.returncode == 0, done.stdout[-300:]
    assert done.stderr == ""
    assert within(tenths - 5).returncode == 1, "the threshold stops nothing"


def test_it_is_started_after_nothing_that_a_pi_without_a_network_never_reaches():
    unit = (DEPLOY / "sensor-agent.service").read_text().splitlines()
    [after] = [line.partition("=")[2].split() for line in unit if line.startswith("After=")]
    # The second waits for a server where systemd-time-wait-sync is enabled.
    assert not {"network-online.target", "time-sync.target", "nss-lookup.target"} & set(after)
    assert not [line for line in unit if line.startswith(("Requires=", "Wants="))]


def test_the_daemon_is_restarted_after_any_end_but_an_unusable_configuration():
    unit = (DEPLOY / "sensor-agent.service").read_text().splitlines()
    for line in ("Restart=always", "RestartPreventExitStatus=78", "OOMPolicy=continue"):
        assert line in unit


PACKAGES = [
    str(path.relative_to(DEPLOY))
    for pattern in ("p*inst", "p*rm", "rtupdate")
    for path in DEPLOY.glob(f"debian/**/{pattern}")
]


@pytest.mark.parametrize("script", ["install.sh", "venv.sh", *sorted(PACKAGES)])
def test_the_scripts_are_clean(script):
    need_program("shellcheck", package="shellcheck")
    done = subprocess.run(
        ["shellcheck", "--external-sources", "--check-sourced", f"deploy/{script}"],
        cwd=DEPLOY.parent, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def first_boot_script():
    user_data = (DEPLOY / "cloud-init/user-data").read_text()
    return textwrap.dedent(user_data.partition("content: |\n")[2].partition("\n  - path:")[0])


def test_the_script_of_the_first_boot_is_clean():
    need_program("shellcheck", package="shellcheck")
    done = subprocess.run(
        ["shellcheck", "-"], input=first_boot_script(),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_first_boot_installs_what_a_power_cut_prevented_and_only_once(tmp_path):
    script = first_boot_script()
    function = script.partition("install_package() {")[2].partition("\n}\n")[0]
    stubs = {"dpkg": "", "apt-get": 'echo "$@"', "apt-cache": "echo python3-lgpio"}
    for name, line in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    # A package that is installed may lack python3-lgpio, which it only recommends.
    for expected in (["update", "install -y sensor-agent python3-lgpio"], []):
        done = subprocess.run(
            ["/bin/sh", "-euc", f"install_package() {{{function}\n}}\ninstall_package"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "installed": str(tmp_path / "installed")},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.splitlines() == expected

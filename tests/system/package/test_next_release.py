"""Debian 12 is upgraded to Debian 13 in place, and so the Python under the service is replaced."""

from containers import THERE, debian
from package_pis import APT, PackagePi
from pis import CONFIG, until

PYTHON_FILES = ("find", "/usr/lib/sensor-agent", "-name", "*.pyc")
UPGRADE = "apt-get dist-upgrade -q -y --no-install-recommends"
CONFIGURATION = "[sensor]\ndriver = 'fake'\ninterval = 0.5\n[led]\ndriver = 'fake'\n"


def upgradable():
    """Return the files of a Debian 12 that has the packages and lists of Debian 13 laid by."""
    return debian(
        "bookworm",
        "--skip=cleanup/apt/cache,cleanup/apt/lists",
        f"--include={THERE},python3-systemd,ca-certificates",
        '--customize-hook=chroot "$1" apt-get clean',
        '--customize-hook=sed -i s/bookworm/trixie/ "$1/etc/apt/sources.list"',
        '--customize-hook=chroot "$1" apt-get update -q',
        f'--customize-hook=chroot "$1" {UPGRADE} --download-only',
    )


def test_the_service_runs_on_the_next_release(packages, tmp_path):
    with PackagePi("bookworm", tmp_path, "next", upgradable()) as pi:
        pi.debs = packages
        pi.install_package()
        pi.put(CONFIG, CONFIGURATION, mode="644")
        pi.restart()
        before = pi.out(*PYTHON_FILES)
        assert ".cpython-311.pyc" in before
        pi.run(*APT, "-o", "Dpkg::Options::=--force-confold", "dist-upgrade", timeout=500)
        assert "trixie" in pi.path("/etc/os-release").read_text()
        pi.restart()
        until(lambda: pi.status()["sensor"]["last"])
        after = pi.out(*PYTHON_FILES)
        assert ".cpython-311.pyc" not in after
        assert len(after.splitlines()) == len(before.splitlines())

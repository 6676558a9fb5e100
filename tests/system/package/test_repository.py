"""The signed repository: installed from by the three lines, and upgraded from unattended."""

import filecmp
import json
import os
import subprocess
import time

import pytest
import repository
from containers import MORE, THERE, debian
from debs import CANNOT_START, other_version, with_program
from package_pis import PackagePi
from pis import CONFIG, until
from repositories import throwaway_key

HOST = "127.0.0.1"
URL = f"http://{HOST}:8000/"
SERVED = "/srv/repository"
SITE = f'Unattended-Upgrade::Origins-Pattern:: "site={HOST}";\n'
DPKG_LOG = "/var/log/unattended-upgrades/unattended-upgrades-dpkg.log"
CONFIGURATION = "[sensor]\ndriver = 'fake'\ninterval = 0.5\n[led]\ndriver = 'fake'\n"


class Shop:
    """A publisher of packages for one machine, which serves them to itself as a static host."""

    def __init__(self, pi, deb, key, start):
        self.pi, self.deb, self.key, self.when = pi, deb, key, start

    def publish(self, *files, key=None):
        # Each is newer than the one before it, and none is of the future: apt would ignore it.
        self.when += 60
        place = self.pi.path(SERVED)
        repository.write_repository(place, files, key=key or self.key, url=URL, when=self.when)
        return repository.install_lines(place, URL)

    def version(self, number, change=lambda tree: None):
        return other_version(self.deb, number, change)

    def upgrade_unattended(self):
        """Do what Debian's timers do once a day; return what was printed."""
        done = self.pi.run("apt-get", "-q", "update", check=False)
        upgraded = self.pi.run("unattended-upgrade", "--verbose", timeout=300)
        return done.stdout + done.stderr + upgraded.stdout + upgraded.stderr


@pytest.fixture(scope="module", params=list(MORE))
def shop(request, packages, tmp_path_factory):
    """A machine with the package from the repository, and with unattended upgrades."""
    suite = request.param
    there = f"{THERE},python3-systemd,ca-certificates,unattended-upgrades,wget{MORE[suite]}"
    files = debian(suite, f"--include={there}")
    home = tmp_path_factory.mktemp(f"{suite}-shop")
    start = int(time.time()) - 100_000
    with (
        throwaway_key(home / "gnupg", created=start) as key,
        PackagePi(suite, home, "shop", files) as pi,
    ):
        # There is no network: Debian's own lists could only be looked for in vain.
        pi.run("sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*")
        # A test that upgrades must not meet a timer that does.
        pi.run("systemctl", "disable", "--now", "apt-daily.timer", "apt-daily-upgrade.timer")
        pi.run("mkdir", "-p", SERVED)
        server = ("python3", "-m", "http.server", "--directory", SERVED, "--bind", HOST, "8000")
        pi.run("systemd-run", "--quiet", "--property=Restart=always", *server)
        yield Shop(pi, packages["sensor-agent"], key, start)


@pytest.fixture
def installed(shop):
    """The shop whose machine has version 0.1.0 from the repository, running."""
    pi = shop.pi
    lines = shop.publish(shop.deb)
    pi.run("dpkg", "--purge", "sensor-agent")
    pi.put(CONFIG, CONFIGURATION, mode="644")
    pi.run("sh", "-c", "rm -f /root/*.tar /etc/apt/*/*sensor-agent* /var/lib/apt/lists/*_*")
    pi.run("apt-get", "clean")
    until(lambda: pi.run("ss", "-Hltn", "sport = 8000").stdout)
    lines = lines.replace("apt-get install", "apt-get install -y")
    pi.said = pi.out("sh", "-ec", f"cd /root\n{lines}")
    pi.put("/etc/apt/apt.conf.d/60sensor-agent", SITE, mode="644")
    until_runs(pi, "0.1.0")
    return shop


def until_runs(pi, version):
    until(lambda: running(pi) == version, what=lambda: f"{running(pi)} runs")


def running(pi):
    """Return the version that the running daemon says it is."""
    done = pi.run("sensor-agent", "status", "--json", check=False)
    return json.loads(done.stdout)["version"] if done.returncode == 0 else None


def candidate(pi, package):
    lines = pi.out("apt-cache", "policy", package).splitlines()
    return next(line.split()[1] for line in lines if line.startswith("  Candidate:"))


def test_the_same_packages_key_and_time_give_the_same_bytes(packages, tmp_path):
    with throwaway_key(tmp_path / "gnupg", created=1_700_000_000) as key:
        for name in ("first", "second"):
            place = tmp_path / name
            files = packages.values()
            repository.write_repository(place, files, key=key, url=URL, when=1_700_000_060)
    first = tmp_path / "first"
    names = {str(file.relative_to(first)) for file in first.rglob("*") if file.is_file()}
    others = ("InRelease", "Packages", "by-hash/...", repository.BUNDLE)
    assert len(names) == len(packages) + len(others)
    same, *different = filecmp.cmpfiles(first, tmp_path / "second", names, shallow=False)
    assert (set(same), different) == (names, [[], []])


def test_three_lines_install_it_from_the_repository(installed):
    pi = installed.pi
    assert "sensor-agent-apt.tar: OK" in pi.said
    assert pi.out("dpkg-query", "--show", "--showformat", "${Version}", "sensor-agent") == "0.1.0"
    for name in repository.KEYRING, "sources.list.d/sensor-agent.sources":
        mode = pi.out("stat", "--format", "%a %U:%G", f"/etc/apt/{name}").strip()
        assert mode == "644 root:root"


def test_the_repository_can_bring_no_other_package(installed, tmp_path):
    pi = installed.pi
    before = candidate(pi, "wget")
    (tmp_path / "wget/DEBIAN").mkdir(parents=True)
    (tmp_path / "wget/DEBIAN/control").write_text(
        "Package: wget\nVersion: 999\nArchitecture: all\nMaintainer: x <x@example.org>\n"
        "Description: a package that the repository must not replace\n"
    )
    other = tmp_path / "wget_999_all.deb"
    build = ["dpkg-deb", "--root-owner-group", "--build", tmp_path / "wget", other]
    subprocess.run(build, check=True, capture_output=True)
    installed.publish(installed.version("0.7.0"), other)
    installed.upgrade_unattended()
    until_runs(pi, "0.7.0")
    assert "999" in pi.out("apt-cache", "policy", "wget")
    assert candidate(pi, "wget") == before


def test_an_unattended_upgrade_brings_a_new_version(installed):
    pi = installed.pi
    installed.publish(installed.deb, installed.version("0.7.0"))
    said = installed.upgrade_unattended()
    assert "Packages that will be upgraded: sensor-agent" in said
    until_runs(pi, "0.7.0")
    assert pi.path(CONFIG).read_text() == CONFIGURATION
    assert pi.out("dpkg", "--audit") == ""


def test_a_list_of_packages_from_a_cache_does_not_prevent_an_upgrade(installed):
    cached = installed.pi.path(SERVED) / "Packages"
    before = cached.read_bytes()
    installed.publish(installed.version("0.7.5"))
    assert cached.read_bytes() != before
    cached.write_bytes(before)
    installed.upgrade_unattended()
    until_runs(installed.pi, "0.7.5")


def test_without_its_site_an_unattended_upgrade_leaves_it(installed):
    pi = installed.pi
    pi.run("rm", "/etc/apt/apt.conf.d/60sensor-agent")
    installed.publish(installed.version("0.7.0"))
    installed.upgrade_unattended()
    assert candidate(pi, "sensor-agent") == "0.7.0"
    assert running(pi) == "0.1.0"


def test_after_an_unattended_upgrade_that_cannot_start_the_previous_version_runs(installed):
    pi = installed.pi
    installed.publish(installed.version("0.7.1", with_program(CANNOT_START)))
    installed.upgrade_unattended()
    until_runs(pi, "0.1.0")
    said = pi.path(DPKG_LOG).read_text()
    assert "sensor-agent 0.7.1 did not start, so the previous version runs again." in said
    assert pi.out("dpkg", "--audit") == ""

    installed.publish(installed.version("0.7.2"))
    installed.upgrade_unattended()
    until_runs(pi, "0.7.2")


def edit_release(place):
    file = place / "InRelease"
    file.write_text(file.read_text().replace("Label: sensor-agent", "Label: sensor-agenT"))


def edit_packages(place):
    for file in (place / "Packages", *(place / repository.BY_HASH).iterdir()):
        file.write_text(file.read_text().replace("Installed-Size: ", "Installed-Size: 1"))


def edit_package(place):
    [file] = place.glob("*.deb")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("tamper", [edit_release, edit_packages, edit_package])
def test_a_tampered_repository_brings_nothing(installed, tamper):
    pi = installed.pi
    newer = installed.version("0.7.3")
    installed.publish(newer)
    tamper(pi.path(SERVED))
    for file in pi.path(SERVED).rglob("*"):
        os.utime(file, (installed.when, installed.when))
    pi.run("apt-get", "-q", "update", check=False)
    pi.run("unattended-upgrade", "--verbose", check=False, timeout=300)
    assert running(pi) == "0.1.0"
    installed.publish(newer)
    installed.upgrade_unattended()
    until_runs(pi, "0.7.3")


def test_a_repository_signed_by_another_key_brings_nothing(installed, tmp_path):
    pi = installed.pi
    newer = installed.version("0.7.4")
    with throwaway_key(tmp_path / "gnupg", created=int(time.time()) - 100_000) as other:
        installed.publish(newer, key=other)
    installed.upgrade_unattended()
    assert running(pi) == "0.1.0"
    assert candidate(pi, "sensor-agent") == "0.1.0"
    installed.publish(newer)
    installed.upgrade_unattended()
    until_runs(pi, "0.7.4")

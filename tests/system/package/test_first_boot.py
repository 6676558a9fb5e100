"""Two cards with the same files on their boot partitions: cloud-init makes two devices of them."""

import re
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
import repository
import trustme
from containers import THERE, debian
from package_pis import CENTRAL_ADDRESS, CENTRAL_DATA, PackagePi
from pis import CONFIG, until
from places import ROOT
from repositories import throwaway_key

URL = f"http://{CENTRAL_ADDRESS}:8000/"
SERVED = "/srv/repository"
BOOT = "/boot/firmware"
KEY = f"{BOOT}/group.key"
REPORT = f"{BOOT}/sensor-agent.txt"
UNIT = "sensor-agent-first-boot.service"
SCRIPT = "/usr/local/sbin/sensor-agent-first-boot"
TIMEDATECTL = "/usr/local/sbin/timedatectl"  # Found before the real one.
INSTANCE = "/var/lib/cloud/instances/rpios-image/"
SERIALS = ("100000000000001a", "100000000000002b")
DEVICES = ("pi-0000001a", "pi-0000002b")
DAY = 86400  # Seconds.
# As Raspberry Pi OS has it: the seed is on the boot partition (cloud-init 22.4 needs the slash at
# the end), and another service makes the keys of ssh. The test brings the network, and without the
# package locales there is no locale to set.
CLOUD = """\
datasource_list: [NoCloud, None]
datasource: {NoCloud: {seedfrom: "file:///boot/firmware/"}}
ssh_deletekeys: false
ssh_genkeytypes: []
network: {config: disabled}
locale: false
"""
HTTPS_SERVER = """
import http.server, ssl
server = http.server.HTTPServer(("127.0.0.1", 8443), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/root/server.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
SOON = "[Service]\nRestartSec=3\n"


class Card(PackagePi):
    """A machine whose first boot is cloud-init's. It has no network until a cable is plugged in."""

    def log(self):
        return self.out("journalctl", "--no-pager", "--unit", UNIT, "--output", "cat")

    def report(self):
        return self.path(REPORT).read_text() if self.path(REPORT).exists() else ""

    def until_reports(self, text):
        """Wait until the report has this text, and return it."""
        return until(lambda: text in self.report() and self.report(), what=self.log)

    def plug_in(self, cable):
        """Connect with the neighbour. `cable` is the cable's number, and part of the addresses."""
        near = f"card{cable}"
        subprocess.run(
            [
                *("ip", "link", "add", "name", near, "netns", self.neighbour.pid, "type", "veth"),
                *("peer", "name", "cable", "netns", self.pid),
            ],
            check=True,
        )
        for machine, interface, number in ((self.neighbour, near, 1), (self, "cable", 2)):
            address = f"10.77.{cable}.{number}/24"
            machine.run("ip", "address", "add", address, "dev", interface)
            machine.run("ip", "link", "set", interface, "up")
        self.run("ip", "route", "add", CENTRAL_ADDRESS, "via", f"10.77.{cable}.1")

    def be_board(self, serial):
        """Have a serial number, as a Raspberry Pi does, until the next boot."""
        self.path("/root/cpuinfo").write_text(f"Serial\t\t: {serial}\n")
        self.run("mount", "--bind", "/root/cpuinfo", "/proc/cpuinfo")

    def files_with(self, text):
        """Return the files with this text, whether or not they are in memory only."""
        found = subprocess.run(
            ["grep", "-rlFe", text, self.root], capture_output=True, text=True, check=False
        )
        assert found.returncode < 2, found.stderr
        stored = {name.removeprefix(str(self.root)) for name in found.stdout.splitlines()}
        return stored | set(self.run("grep", "-rlsFe", text, "/run", check=False).stdout.split())


@pytest.fixture(scope="module")
def group_key(pi):
    return pi.neighbour.path(f"{CENTRAL_DATA}/group-key").read_text().strip()


@pytest.fixture(scope="module")
def cards(pi, group_key, tmp_path_factory):
    """The two cards when they are done, each after its own obstacles.

    The first has no network and loses its power, and then its clock is slow: the repository is of
    tomorrow. The second is not allowed to connect.
    """
    home = tmp_path_factory.mktemp("cards")
    now = int(time.time())
    with throwaway_key(home / "gnupg", created=now - DAY) as key:
        added = boot_partition(pi, group_key, publish(pi, key, now + DAY))
        image = debian(
            pi.suite,
            f"--include={THERE},cloud-init,python3-systemd,ca-certificates",
            '--customize-hook=rm "$1/etc/apt/sources.list"',
        )
        with (
            Card(pi.suite, new_directory(home, "first"), "card1", image, added) as first,
            Card(pi.suite, new_directory(home, "second"), "card2", image, added) as second,
        ):
            first.neighbour = second.neighbour = pi.neighbour
            first.without_network = first.until_reports("Adding the repository failed.")
            first.cut_power()
            first.boot()
            first.be_board(SERIALS[0])
            first.plug_in(1)
            first.with_slow_clock = first.until_reports("Installing sensor-agent failed.")
            publish(pi, key, now - DAY // 2)
            path = f"/api/devices/{DEVICES[1]}"
            pi.rest("PUT", path, {"enabled": False}, status=200)
            second.be_board(SERIALS[1])
            second.plug_in(2)
            second.refused = second.until_reports("Connecting failed.")
            second.key_was_removed = not second.path(KEY).exists()
            pi.rest("PATCH", path, {"enabled": True}, status=200)
            for card in (first, second):
                until(lambda card=card: not card.path(SCRIPT).exists(), what=card.log)
            yield first, second


def new_directory(home, name):
    (home / name).mkdir()
    return home / name


def publish(pi, key, when):
    """Publish the package on the neighbour, and return the checksum of the repository's file."""
    place = pi.neighbour.path(SERVED)
    is_new = not place.exists()
    files = [pi.debs["sensor-agent"]]
    repository.write_repository(place, files, key=key, url=URL, when=when)
    if is_new:
        server = ("python3", "-m", "http.server", "--directory", SERVED, "8000")
        pi.neighbour.run("systemd-run", "--quiet", *server)
    return repository.install_lines(place, URL).split("'")[1].split()[0]


def boot_partition(pi, group_key, checksum):
    """Return the files that the owner of the cards adds to their image."""
    options = (
        f"--id-scope {pi.central['id_scope']} --group-key-file $key --fake-hw "
        f"--provisioning-host {CENTRAL_ADDRESS} --ca-file {BOOT}/ca.pem"
    )
    user_data = (ROOT / "deploy/cloud-init/user-data").read_text()
    settings = {"repository": URL, "checksum": checksum, "setup": f'"{options}"'}
    for name, value in settings.items():
        user_data, count = re.subn(rf"( {name}=).*", rf"\g<1>{value}", user_data)
        assert count == 1, name
    return {
        "/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg": CLOUD,
        f"/etc/systemd/system/{UNIT}.d/soon.conf": SOON,
        f"{BOOT}/meta-data": "instance-id: rpios-image\n",
        f"{BOOT}/user-data": user_data,
        f"{BOOT}/ca.pem": pi.neighbour.path(f"{CENTRAL_DATA}/ca.pem").read_text(),
        KEY: f"{group_key}\n",
    }


def test_each_card_reports_under_the_id_of_its_board(pi, cards):
    for device in DEVICES:
        path = f"/console/api/devices/{device}/messages?limit=1&before={1 << 53}"
        assert until(lambda path=path: pi.rest("GET", path, status=200)["value"])
    for card, device in zip(cards, DEVICES, strict=True):
        assert card.ask("status")["device_id"] == device


def test_the_group_key_is_in_no_file_of_a_card(cards, group_key):
    for card in cards:
        assert card.files_with(group_key) == set()
        assert group_key not in card.out("journalctl", "--no-pager", "--output", "cat")


def test_cloud_init_keeps_copies_of_user_data(cards):
    for card in cards:
        found = card.files_with("install_package() {")
        copies = found - {f"{BOOT}/user-data"}
        assert len(copies) < len(found)
        stored = {file for file in copies if not file.startswith("/run/cloud-init/")}
        assert {file.removeprefix(INSTANCE) for file in stored} == {
            *("user-data.txt", "user-data.txt.i", "cloud-config.txt", "obj.pkl")
        }
        modes = set(card.out("stat", "--format=%a %U", *copies).splitlines())
        assert modes <= {"600 root", "400 root"}, copies


def test_the_boot_partition_says_why_a_card_is_not_connected(cards):
    first, second = cards
    assert "Network is unreachable" in first.without_network
    # In the words of bookworm's apt, and in those of trixie's.
    assert re.search("is not valid yet|Not live until", first.with_slow_clock)
    assert f"sensor-agent runs as {DEVICES[1]}, but is not connected: " in second.refused
    assert "blocked" in second.refused


def test_the_boot_partition_says_in_the_end_that_the_card_is_connected(cards):
    for card, device in zip(cards, DEVICES, strict=True):
        connected = f"sensor-agent runs as {device} and is connected to {CENTRAL_ADDRESS}. "
        assert card.report().startswith(connected)


def test_the_key_is_deleted_although_the_hub_refuses_the_device(cards):
    assert cards[1].key_was_removed


def test_the_first_boot_leaves_nothing_but_the_service(cards):
    for card in cards:
        assert not card.path(f"/etc/systemd/system/{UNIT}").exists()
        assert card.out("systemctl", "is-system-running") == "running\n"
        assert "status: done" in card.out("cloud-init", "status", "--wait")
        assert card.is_active()
        checked = card.run("cloud-init", "schema", "--config-file", f"{BOOT}/user-data")
        assert "Valid" in checked.stdout


@pytest.fixture
def repeated(cards):
    """A finished card with the script again, as cloud-init writes it."""
    card = cards[0]
    card.run("cloud-init", "single", "--name", "write_files", "--frequency", "always")
    yield card
    card.run("rm", "-f", SCRIPT, f"/etc/systemd/system/{UNIT}", KEY, TIMEDATECTL)


def test_a_file_of_the_repository_that_was_changed_is_refused(repeated, group_key):
    repeated.put(KEY, group_key, mode="600")
    repeated.run("sed", "-i", f"s/checksum=.*/checksum={'0' * 64}/", SCRIPT)
    done = repeated.run(SCRIPT, check=False)
    assert done.returncode == 1
    assert "Hash Sum mismatch" in repeated.report()
    assert repeated.path(KEY).exists()


def test_a_certificate_that_is_not_valid_yet_is_reported(repeated, group_key):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", not_before=tomorrow)
    for name, pem in (
        ("server", issued.private_key_and_cert_chain_pem),
        ("authority", authority.cert_pem),
    ):
        repeated.put(f"/root/{name}.pem", pem.bytes().decode(), mode="600")
    trust = 'Acquire::https::CAInfo "/root/authority.pem";\n'
    repeated.put("/etc/apt/apt.conf.d/authority", trust, mode="644")
    repeated.run("systemd-run", "--quiet", "python3", "-c", HTTPS_SERVER)
    until(lambda: repeated.run("ss", "-Hltn", "sport = 8443").stdout)
    repeated.put(TIMEDATECTL, "#!/bin/sh\necho no\n", mode="755")
    repeated.run("sed", "-i", "s,repository=.*,repository=https://127.0.0.1:8443/,", SCRIPT)
    repeated.put(KEY, group_key, mode="600")
    repeated.run(SCRIPT, check=False)
    assert repeated.report().startswith("Adding the repository failed. ")
    assert "Its clock is not set yet and shows 20" in repeated.report()
    # In the words of bookworm's apt, and in those of trixie's, which does not name the reason.
    assert re.search("not yet valid|certificate verify failed", repeated.report())


def test_a_card_without_the_key_says_what_is_missing(repeated):
    repeated.run("mv", CONFIG, f"{CONFIG}.kept")
    done = repeated.run(SCRIPT, check=False)
    repeated.run("mv", f"{CONFIG}.kept", CONFIG)
    assert done.returncode == 1
    missing = f"There is no file {KEY}. Copy it to the card's boot partition.\n"
    assert done.stderr == repeated.report() == missing


def test_the_key_stays_while_an_option_of_setup_is_wrong(repeated, group_key):
    repeated.put(KEY, group_key, mode="600")
    repeated.run("sed", "-i", "s/--fake-hw/--fake-hardware/", SCRIPT)
    repeated.run("systemctl", "stop", "sensor-agent")
    repeated.run(SCRIPT, check=False)
    repeated.run("systemctl", "start", "sensor-agent")
    assert repeated.report().startswith("Connecting failed. ")
    assert "--fake-hardware" in repeated.report()
    assert repeated.path(KEY).exists()


@pytest.mark.parametrize(("answer", "is_said"), [("no", True), ("yes", False)])
def test_a_failure_is_reported_with_the_clock_while_it_is_not_set(repeated, answer, is_said):
    repeated.put(TIMEDATECTL, f"#!/bin/sh\necho {answer}\n", mode="755")
    repeated.put(KEY, "not a key", mode="600")
    repeated.run(SCRIPT, check=False)
    assert ("Its clock is not set yet and shows 20" in repeated.report()) is is_said


def test_corrected_files_with_a_new_instance_id_set_up_a_card_again(cards, group_key):
    card = cards[1]
    for file, old, new in (
        ("meta-data", "rpios-image", "rpios-image-2"),
        ("user-data", "--fake-hw", "--fake-hw --device-id corrected"),
    ):
        text = card.path(f"{BOOT}/{file}").read_text()
        assert text.count(old) == 1
        card.path(f"{BOOT}/{file}").write_text(text.replace(old, new))
    card.put(KEY, group_key, mode="755")
    card.power_off()
    card.boot()
    card.plug_in(3)
    card.until_reports("sensor-agent runs as corrected and is connected to")
    until(lambda: not card.path(SCRIPT).exists(), what=card.log)
    assert not card.path(KEY).exists()

import pytest
from examinations import examination, write

from agent.diagnostics.checks import journal
from agent.diagnostics.finding import Outcome

RASPBERRY_PI_OS = "usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf"
ETC = "etc/systemd/journald.conf"
VOLATILE = "[Journal]\nStorage=volatile\n"
PERSISTENT = "[Journal]\nStorage=persistent\n"


@pytest.fixture
def machine(tmp_path):
    """A machine with the service, whose journal is kept on disk."""
    write(tmp_path, "etc/systemd/system/sensor-agent.service", "")
    write(tmp_path, "proc/self/mountinfo", "22 1 179:2 / / rw - ext4 /dev/root rw\n")
    (tmp_path / "run/systemd/journal").mkdir(parents=True)
    (tmp_path / "var/log/journal").mkdir(parents=True)
    return tmp_path


def find(root):
    return journal.journal(examination(root))


def test_a_directory_on_disk_keeps_the_journal(machine):
    assert find(machine).outcome is Outcome.OK


def test_the_default_of_raspberry_pi_os_is_reported_with_the_drop_in(machine):
    write(machine, RASPBERRY_PI_OS, VOLATILE)
    finding = find(machine)
    assert finding.outcome is Outcome.WARNING
    assert finding.line == f"The journal is in memory (/{RASPBERRY_PI_OS}), so a restart loses it."
    assert journal.DROP_IN in finding.advice
    assert "Storage=persistent" in finding.advice
    assert "13 MB a day" in finding.advice


def test_the_drop_in_of_the_advice_keeps_the_journal(machine):
    write(machine, RASPBERRY_PI_OS, VOLATILE)
    write(machine, journal.DROP_IN.lstrip("/"), PERSISTENT)
    assert find(machine).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("files", "storage"),
    [
        ({}, "auto"),
        ({ETC: "[Journal]\n#Storage=none\n"}, "auto"),
        ({ETC: "[Journal]\n Storage = None \n"}, "none"),
        ({ETC: PERSISTENT, RASPBERRY_PI_OS: VOLATILE}, "volatile"),
        # A file of the same name in /etc replaces the package's.
        ({RASPBERRY_PI_OS.replace("usr/lib", "etc"): "", RASPBERRY_PI_OS: VOLATILE}, "auto"),
        # Later names win, in whichever directory they are.
        ({f"{ETC}.d/10-a.conf": PERSISTENT, RASPBERRY_PI_OS: VOLATILE}, "volatile"),
        ({f"{ETC}.d/50-a.conf": PERSISTENT, RASPBERRY_PI_OS: VOLATILE}, "persistent"),
        ({"usr/lib/systemd/journald.conf": VOLATILE, ETC: PERSISTENT}, "persistent"),
        ({"usr/lib/systemd/journald.conf": VOLATILE}, "volatile"),
        ({ETC: "[Journal]\nStorage=none\nStorage=\n"}, "auto"),
    ],
)  # fmt: skip
def test_the_setting_that_is_in_force(tmp_path, files, storage):
    for name, text in files.items():
        write(tmp_path, name, text)
    assert journal.storage_setting(tmp_path)[0] == storage


def test_a_journal_without_a_directory_is_in_memory(machine):
    (machine / "var/log/journal").rmdir()
    finding = find(machine)
    assert finding.outcome is Outcome.WARNING
    assert "/var/log/journal does not exist" in finding.line


def test_a_journal_that_is_turned_off_is_reported(machine):
    write(machine, "etc/systemd/journald.conf", "[Journal]\nStorage=none\n")
    assert find(machine).line == "/etc/systemd/journald.conf turns the journal off."


def test_logs_in_memory_lose_the_journal_too(machine):
    write(
        machine,
        "proc/self/mountinfo",
        "22 1 179:2 / / rw - ext4 /dev/root rw\n30 22 0:40 / /var/log rw - tmpfs log2ram rw\n",
    )
    finding = find(machine)
    assert (
        finding.line == "/var/log/journal is in memory (tmpfs), so a power cut loses the journal."
    )
    assert "log2ram" in finding.advice


def test_without_the_service_or_without_systemd_the_check_is_skipped(machine):
    (machine / "etc/systemd/system/sensor-agent.service").unlink()
    assert "not installed" in find(machine).line
    (machine / "run/systemd/journal").rmdir()
    assert "systemd does not run here" in find(machine).line

import shutil
import tempfile
from types import SimpleNamespace

import pytest
from examinations import examination, outbox_with, write
from statuses import STATUS

from agent.diagnostics.checks import storage
from agent.diagnostics.finding import Outcome
from agent.diagnostics.service_advice import how_to_restart

PLAIN = "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw,errors=remount-ro\n"
# With ProtectSystem=strict, a service sees a read-only mount of a writable disk.
PROTECTED = "22 1 179:2 / / ro,noatime shared:1 - ext4 /dev/root rw,errors=remount-ro\n"
READ_ONLY = "22 1 179:2 / / ro,noatime shared:1 - ext4 /dev/root ro,errors=remount-ro\n"
ZRAM = "22 1 253:0 / / rw,noatime - ext4 /dev/zram0 rw\n"
OVERLAY = "22 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/lower,upperdir=/upper\n"


def disk_write(tmp_path, mounts=PLAIN, *, is_root=True):
    write(tmp_path, "proc/self/mountinfo", mounts)
    link = tmp_path / "sys/dev/block/253:0"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to("../../devices/virtual/block/zram0")
    (tmp_path / "state").mkdir(exist_ok=True)
    return storage.disk_write(examination(tmp_path, is_root=is_root))


@pytest.mark.parametrize(
    ("mounts", "outcome", "words"),
    [
        (PLAIN, "ok", "is writable"),
        (PROTECTED, "ok", "is writable"),
        (READ_ONLY, "warning", "The root file system is read-only"),
        (OVERLAY, "warning", "in memory (overlay)"),
        (ZRAM, "warning", "in memory (ext4 on zram)"),
        ("", "ok", "is writable"),
    ],
)
def test_the_kind_of_disk_is_judged(tmp_path, mounts, outcome, words):
    finding = disk_write(tmp_path, mounts)
    assert finding.outcome == outcome, finding
    assert words in finding.line
    assert list((tmp_path / "state").iterdir()) == []


def test_the_nearest_mount_point_counts(tmp_path):
    where = str((tmp_path / "state").resolve()).replace(" ", "\\040")
    tmpfs = f"30 22 0:40 / {where} rw - tmpfs tmpfs rw,size=1m\n"
    assert "in memory (tmpfs)" in disk_write(tmp_path, PLAIN + tmpfs).line


@pytest.mark.parametrize(
    ("number", "words"), [(28, "Make room"), (30, "have a new disk"), (5, "dmesg"), (13, "chown")]
)
def test_each_failure_to_write_has_its_advice(tmp_path, monkeypatch, number, words):
    def refuse(**_):
        raise OSError(number, "It cannot be.")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    finding = disk_write(tmp_path, READ_ONLY)
    assert finding.outcome is Outcome.FAILED
    assert "read-only" in finding.line
    assert words in finding.advice
    if number == 13:
        assert disk_write(tmp_path, is_root=False).outcome is Outcome.SKIPPED


def test_a_missing_state_directory_is_skipped(tmp_path):
    finding = storage.disk_write(examination(tmp_path))
    assert finding.outcome is Outcome.SKIPPED


def test_a_state_directory_that_the_daemon_cannot_recreate_fails(tmp_path):
    finding = storage.disk_write(examination(tmp_path, status=STATUS))
    assert finding.outcome is Outcome.FAILED
    assert "was removed" in finding.line
    assert finding.advice == how_to_restart(tmp_path)


@pytest.mark.parametrize(
    ("megabytes", "outcome"), [(5, "failed"), (50, "warning"), (64, "ok"), (5000, "ok")]
)
def test_free_space_is_judged(tmp_path, monkeypatch, megabytes, outcome):
    usage = SimpleNamespace(free=megabytes * 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    finding = storage.disk_space(examination(tmp_path))
    assert finding.outcome == outcome
    assert f"{megabytes} MB free" in finding.line


async def test_the_outbox_of_a_daemon_that_does_not_run_is_counted_and_not_changed(tmp_path):
    assert storage.outbox_here(tmp_path).outcome is Outcome.OK
    outbox = await outbox_with(tmp_path, readings=200)
    [file] = outbox.iterdir()
    before = sorted(tmp_path.rglob("*"))
    assert storage.outbox_here(tmp_path).line.startswith("200 readings wait to be sent")
    assert sorted(tmp_path.rglob("*")) == before
    damaged = file.read_bytes()[:4500] + b"x" * 100 + file.read_bytes()[4600:]
    file.write_bytes(damaged)
    finding = storage.outbox_here(tmp_path)
    assert finding.outcome is Outcome.FAILED
    assert finding.line.startswith("197 readings wait to be sent")
    assert "3 damaged records" in finding.line
    assert file.read_bytes() == damaged

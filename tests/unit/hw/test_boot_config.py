"""config.txt: what is read from it, and what is changed in it, to the byte."""

import errno
import os
from pathlib import Path

import pytest
from boot_configs import load
from examinations import raspberry_pi, write
from hypothesis import given
from hypothesis import strategies as st

from hw import boot_config, boot_overlays
from hw.boot_config import BootConfig
from hw.boot_overlays import Board
from hw.errors import BootConfigError

CONFIG = b"dtparam=audio=on\n[pi4]\narm_boost=1\n"


def block(pin, end=b"\n"):
    lines = (b"# begin sensor-agent", b"[all]", b"dtoverlay=dht11,gpiopin=%d" % pin)
    return b"".join(line + end for line in (*lines, b"# end sensor-agent"))


def loads_driver(content, pin):
    overlays = boot_overlays.read(content, Board()).overlays
    boot = BootConfig(Path("config.txt"), content, overlays, ignored=(), offers_driver=True)
    return boot.loads_driver(pin)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_block_is_added_in_the_line_ends_of_the_file(end):
    config = CONFIG.replace(b"\n", end)
    enabled = boot_config.with_driver(config, 4)
    assert enabled == config + block(4, end)
    assert loads_driver(enabled, 4)
    assert boot_config.own_pin(enabled) == 4
    assert boot_config.without_driver(enabled) == config


def test_an_empty_file_gets_only_the_block():
    assert boot_config.with_driver(b"", 4) == block(4)


def test_another_pin_replaces_the_first():
    first = boot_config.with_driver(CONFIG, 4)
    assert boot_config.with_driver(first, 22) == CONFIG + block(22)


def test_a_last_line_without_an_end_gets_one():
    enabled = boot_config.with_driver(CONFIG + b"dtparam=spi=on", 4)
    assert enabled == CONFIG + b"dtparam=spi=on\n" + block(4)
    assert boot_config.without_driver(enabled) == CONFIG + b"dtparam=spi=on\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_after_the_block_still_apply_to_every_board(end):
    config = CONFIG.replace(b"\n", end)
    after = end + b"dtparam=spi=on" + end
    assert boot_config.without_driver(config + block(4, end) + after) == (
        config + end + b"[all]" + end + b"dtparam=spi=on" + end
    )


def test_a_filter_of_the_owner_after_the_block_needs_no_other():
    after = b"[pi5]\nfan=1\n"
    assert boot_config.without_driver(CONFIG + block(4) + after) == CONFIG + after


@pytest.mark.parametrize("mark", [b"# begin sensor-agent\n", b"# end sensor-agent\n"])
def test_a_lost_mark_costs_no_line_of_the_owner(mark):
    damaged = CONFIG + block(4).replace(mark, b"") + b"[pi5]\nfan=1\n"
    without = boot_config.without_driver(damaged)
    assert without.startswith(CONFIG)
    assert without.endswith(b"[pi5]\nfan=1\n")
    assert b"sensor-agent" not in without


def test_changed_line_ends_are_accepted():
    enabled = boot_config.with_driver(CONFIG, 4).replace(b"\n", b"\r\n")
    assert boot_config.own_pin(enabled) == 4
    assert boot_config.without_driver(enabled) == CONFIG.replace(b"\n", b"\r\n")


def test_an_overlay_of_the_owner_is_not_ours():
    content = CONFIG + b"dtoverlay=dht11,gpiopin=4\n"
    assert boot_config.own_pin(content) is None
    assert not boot_config.has_block(content)
    assert boot_config.without_driver(content) == content


OWNERS = st.lists(
    st.one_of(
        st.sampled_from([b"[all]", b"[pi4]", b"dtparam=i2c_arm=on", b"", b"dtoverlay=dht11"]),
        st.binary(max_size=12).filter(lambda text: b"\n" not in text),
    ),
    max_size=6,
)


@given(lines=OWNERS, pins=st.lists(st.integers(0, 27), min_size=1, max_size=3))
def test_enabling_and_disabling_leaves_the_bytes_of_the_owner(lines, pins):
    owners = b"".join(line + b"\n" for line in lines)
    content = owners
    for pin in pins:
        content = boot_config.with_driver(content, pin)
        assert content.startswith(owners)
        assert boot_config.own_pin(content) == pin
    assert boot_config.without_driver(content) == owners


@given(content=st.binary(max_size=80))
def test_any_bytes_can_be_read_and_changed(content):
    enabled = boot_config.with_driver(content, 4)
    assert loads_driver(enabled, 4)
    assert not boot_config.has_block(boot_config.without_driver(enabled))


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "boot" / "firmware" / "config.txt"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONFIG)
    return file


def test_the_file_is_found_where_the_system_has_it(tmp_path, file):
    older = tmp_path / "boot" / "config.txt"
    older.touch()
    assert boot_config.find(tmp_path) == file
    file.unlink()
    assert boot_config.find(tmp_path) == older
    older.unlink()
    assert boot_config.find(tmp_path) is None


@pytest.mark.parametrize(
    ("settings", "place", "readme"),
    [
        ("", "overlays/dht11.dtbo", None),
        ("overlay_prefix=mine/\n", "mine/dht11.dtbo", None),
        ("overlay_prefix=/mine/x-\n", "mine/x-dht11.dtbo", None),
        ("os_prefix=current/\n", "current/overlays/dht11.dtbo", "current/overlays/README"),
        ("os_prefix=current/\n", "overlays/dht11.dtbo", None),
        ("os_prefix=old/\n[pi5]\nos_prefix=\n", "old/overlays/dht11.dtbo", "old/overlays/README"),
    ],
)
def test_the_driver_is_offered_if_its_overlay_is_where_the_firmware_looks(
    tmp_path, file, settings, place, readme
):
    raspberry_pi(tmp_path)
    file.write_text(settings)
    if readme is not None:
        write(file.parent, readme, "")
    assert not load(tmp_path).offers_driver
    write(file.parent, place, "")
    assert load(tmp_path).offers_driver


def test_an_included_file_is_read_from_the_boot_partition_only(tmp_path, file):
    write(tmp_path, "etc/extra.txt", "dtoverlay=dht11,gpiopin=17\n")
    write(file.parent, "etc/extra.txt", "dtoverlay=dht11\n")
    for name in ("/etc/extra.txt", "../../etc/extra.txt"):
        file.write_text(f"include {name}\n")
        assert load(tmp_path).loads_driver(4), name


def test_an_included_file_that_cannot_be_read_is_named(tmp_path, file, monkeypatch):
    file.write_text("include extra.txt\n")
    extra = write(file.parent, "extra.txt", "")
    real = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: fail_eio() if path == extra else real(path)
    )
    with pytest.raises(BootConfigError, match=r"^Cannot read .*/extra\.txt: input/output error\.$"):
        boot_config.load(tmp_path)


def fail_eio():
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_machine_without_the_file_has_no_boot_configuration(tmp_path):
    assert boot_config.load(tmp_path) is None


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BootConfigError, match=r"^Cannot read .*/config\.txt: no such file or dir"):
        boot_config.read(tmp_path / "config.txt")


def test_the_file_is_replaced_and_keeps_its_mode(file):
    file.chmod(0o755)
    boot_config.write(file, b"new\n")
    assert file.read_bytes() == b"new\n"
    assert file.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in file.parent.iterdir()] == ["config.txt"]


def test_a_link_stays_one(file, tmp_path):
    link = tmp_path / "config.txt"
    link.symlink_to(file)
    boot_config.write(link, b"new\n")
    assert link.is_symlink()
    assert file.read_bytes() == b"new\n"


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EROFS, "read-only file system. To make it writable: sudo mount -o remount,rw"),
        (errno.ENOSPC, "no space left on device. Remove files that are not needed from"),
        (errno.EIO, "input/output error."),
    ],
)
@pytest.mark.parametrize("step", ["open", "fsync", "rename"])
def test_a_failure_to_write_leaves_the_file_and_nothing_else(
    file, monkeypatch, step, number, sentence
):
    def fail(*_arguments):
        raise OSError(number, os.strerror(number))

    real_open = os.open

    def fail_to_create(path, flags, *mode):
        return fail() if flags & os.O_CREAT else real_open(path, flags, *mode)

    if step == "rename":
        monkeypatch.setattr(Path, "rename", fail)
    else:
        monkeypatch.setattr(os, step, fail_to_create if step == "open" else fail)
    with pytest.raises(BootConfigError) as raised:
        boot_config.write(file, b"new\n")
    assert str(raised.value).startswith(f"Cannot write {file}, which is unchanged: {sentence}")
    assert file.read_bytes() == CONFIG
    assert [path.name for path in file.parent.iterdir()] == ["config.txt"]


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_ctrl_c_leaves_the_file_and_nothing_else(file, monkeypatch, step):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(*((Path, "rename") if step == "rename" else (os, step)), interrupt)
    with pytest.raises(KeyboardInterrupt):
        boot_config.write(file, b"new\n")
    assert file.read_bytes() == CONFIG
    assert [path.name for path in file.parent.iterdir()] == ["config.txt"]

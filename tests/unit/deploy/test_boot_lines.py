"""The lines in config.txt when the Debian package is removed and installed again."""

import boot_lines
import pytest

from hw import boot_config
from hw.errors import BootConfigError

OWNERS = b"[pi4]\narm_boost=1\n"
PLACES = list(boot_config.PLACES)


def config(root, place, content):
    file = root / place
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    (root / "etc/sensor-agent").mkdir(parents=True)
    return file


@pytest.mark.parametrize("place", PLACES)
def test_the_lines_are_removed_and_restored(tmp_path, place, capsys):
    file = config(tmp_path, place, boot_config.with_driver(OWNERS, 22))
    boot_lines.remove(tmp_path)
    assert file.read_bytes() == OWNERS
    assert f"The kernel's sensor driver was removed from {file}." in capsys.readouterr().out
    boot_lines.restore(tmp_path)
    assert file.read_bytes() == boot_config.with_driver(OWNERS, 22)
    assert f"The kernel's sensor driver is in {file} again." in capsys.readouterr().out
    assert not (tmp_path / boot_lines.KEPT).exists()


def test_the_lines_of_a_sensor_on_i2c_are_restored_too(tmp_path):
    content = boot_config.with_chip(OWNERS, "dtoverlay=i2c-sensor,sht3x,addr=0x45")
    file = config(tmp_path, PLACES[0], content)
    boot_lines.remove(tmp_path)
    assert file.read_bytes() == OWNERS
    boot_lines.restore(tmp_path)
    assert file.read_bytes() == content


def test_lines_of_the_owner_stay_as_they_are(tmp_path, capsys):
    owners = OWNERS + b"dtoverlay=dht11,gpiopin=4\n"
    file = config(tmp_path, PLACES[0], owners)
    boot_lines.remove(tmp_path)
    boot_lines.restore(tmp_path)
    assert file.read_bytes() == owners
    assert capsys.readouterr().out == ""


def test_a_line_that_the_owner_has_written_meanwhile_is_not_repeated(tmp_path):
    file = config(tmp_path, PLACES[0], boot_config.with_driver(OWNERS, 22))
    boot_lines.remove(tmp_path)
    owners = OWNERS + b"[all]\ndtoverlay=dht11,gpiopin=22\n"
    file.write_bytes(owners)
    boot_lines.restore(tmp_path)
    assert file.read_bytes() == owners


def test_a_machine_without_the_file_or_a_configuration_is_left_alone(tmp_path, capsys):
    boot_lines.remove(tmp_path)
    boot_lines.restore(tmp_path)
    assert list(tmp_path.iterdir()) == []
    file = config(tmp_path, PLACES[0], boot_config.with_driver(OWNERS, 22))
    (tmp_path / "etc/sensor-agent").rmdir()
    boot_lines.remove(tmp_path)
    assert file.read_bytes() == OWNERS


def test_a_file_that_cannot_be_written_stays_as_it_is(tmp_path, monkeypatch):
    def write(file, _content):
        raise BootConfigError(f"Cannot write {file}, which is unchanged: read-only file system.")

    content = boot_config.with_driver(OWNERS, 22)
    file = config(tmp_path, PLACES[0], content)
    with monkeypatch.context() as patch:
        patch.setattr(boot_config, "write", write)
        with pytest.raises(BootConfigError, match="read-only file system"):
            boot_lines.remove(tmp_path)
    assert file.read_bytes() == content
    boot_lines.restore(tmp_path)
    assert file.read_bytes() == content
    assert not (tmp_path / boot_lines.KEPT).exists()


def test_lines_that_cannot_be_kept_are_not_removed(tmp_path):
    content = boot_config.with_driver(OWNERS, 22)
    file = config(tmp_path, PLACES[0], content)
    (tmp_path / boot_lines.KEPT).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        boot_lines.remove(tmp_path)
    assert file.read_bytes() == content

"""Memory disks are recognised, whatever they are formatted as and however they are stacked."""

from pathlib import Path

import pytest
from examinations import write

from agent.diagnostics.mounts import memory_of, read_mounts

CARD = "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw,errors=remount-ro\n"
STATE = Path("/var/lib/sensor-agent")


@pytest.fixture
def machine(tmp_path):
    """Make a machine with these mounts, block devices by number, and loop devices' files."""

    def make(*mounts, devices=None, loops=None, slaves=None):
        write(tmp_path, "proc/self/mountinfo", "".join(mounts))
        for number, name in (devices or {}).items():
            device = tmp_path / "sys/devices/virtual/block" / name
            device.mkdir(parents=True, exist_ok=True)
            for place in (f"sys/dev/block/{number}", f"sys/class/block/{name}"):
                link = tmp_path / place
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(device)
        for name, file in (loops or {}).items():
            write(tmp_path, f"sys/devices/virtual/block/{name}/loop/backing_file", f"{file}\n")
        for name, below in (slaves or {}).items():
            link = tmp_path / "sys/devices/virtual/block" / name / "slaves" / below
            link.parent.mkdir(parents=True)
            link.symlink_to(tmp_path / "sys/devices/virtual/block" / below)
        return memory_of(STATE, read_mounts(tmp_path), tmp_path)

    return make


def at(place, kind, device="0:40", source=None, options="rw"):
    return f"30 22 {device} / {place} rw,relatime - {kind} {source or kind} {options}\n"


def test_a_card_is_no_memory(machine):
    assert machine(CARD, devices={"179:2": "mmcblk0p2"}) is None
    assert machine(CARD) is None
    assert machine() is None


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_file_systems_in_memory(machine, kind):
    assert machine(CARD, at("/var/lib", kind)) == kind


@pytest.mark.parametrize("kind", ["ext4", "f2fs", "btrfs", "xfs", "vfat"])
@pytest.mark.parametrize(("name", "memory"), [("zram1", "zram"), ("ram0", "a RAM disk")])
def test_block_devices_in_memory(machine, kind, name, memory):
    mount = at("/var/lib", kind, "253:1", f"/dev/{name}")
    assert machine(CARD, mount, devices={"253:1": name}) == f"{kind} on {memory}"


def test_a_file_system_with_a_number_of_its_own_is_found_by_its_source(machine):
    mount = at("/var/lib", "btrfs", "0:51", "/dev/zram0")
    assert machine(CARD, mount, devices={"253:0": "zram0"}) == "btrfs on zram"


def test_a_loop_device_is_where_its_file_is(machine):
    mount = at("/var/lib", "ext4", "7:0", "/dev/loop0")
    devices = {"7:0": "loop0", "179:2": "mmcblk0p2"}
    in_memory = machine(
        CARD, at("/run", "tmpfs"), mount, devices=devices, loops={"loop0": "/run/disk.img"}
    )
    assert in_memory == "ext4 on a file on tmpfs"


def test_a_loop_device_on_the_card_is_no_memory(machine):
    mount = at("/var/lib", "ext4", "7:0", "/dev/loop0")
    devices = {"7:0": "loop0", "179:2": "mmcblk0p2"}
    assert machine(CARD, mount, devices=devices, loops={"loop0": "/home/disk.img"}) is None


def test_a_loop_device_on_itself_ends(machine):
    mount = at("/var/lib", "ext4", "7:0", "/dev/loop0")
    loops = {"loop0": "/var/lib/disk.img"}
    assert machine(CARD, mount, devices={"7:0": "loop0"}, loops=loops) is None


def test_an_encrypted_memory_disk_is_memory(machine):
    mount = at("/var/lib", "ext4", "254:0", "/dev/mapper/x")
    devices = {"254:0": "dm-0", "253:0": "zram0"}
    assert machine(CARD, mount, devices=devices, slaves={"dm-0": "zram0"}) == "ext4 on zram"


RASPI_CONFIG = at(
    "/", "overlay", options="rw,lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work"
)
OVERLAYROOT = at(
    "/", "overlay", "0:20", "overlayroot", "rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/up"
)


def test_an_overlay_root_whose_upper_layer_is_out_of_sight_is_memory(machine):
    assert machine(RASPI_CONFIG) == "overlay"


def test_an_overlay_root_is_where_its_upper_layer_is(machine):
    assert machine(OVERLAYROOT, at("/media/root-rw", "tmpfs")) == "overlay on tmpfs"
    disk = at("/media/root-rw", "ext4", "8:1", "/dev/sda1")
    assert machine(OVERLAYROOT, disk, devices={"8:1": "sda1"}) is None


def test_a_disk_beside_an_overlay_root_is_no_memory(machine):
    disk = at("/var/lib/sensor-agent", "ext4", "8:1", "/dev/sda1")
    assert machine(RASPI_CONFIG, disk, devices={"8:1": "sda1"}) is None


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv", "run/systemd/container"])
def test_a_containers_overlay_is_on_the_disk_of_its_host(machine, tmp_path, mark):
    write(tmp_path, mark, "")
    options = "rw,lowerdir=/l,upperdir=/var/lib/docker/overlay2/1/diff"
    assert machine(at("/", "overlay", options=options)) is None


def test_the_topmost_of_two_mounts_at_a_place_counts(machine):
    assert machine(CARD, at("/var/lib", "tmpfs"), at("/var/lib", "ext4", "8:1")) is None


def test_places_with_spaces_are_read(tmp_path):
    write(tmp_path, "proc/self/mountinfo", at("/my\\040disk", "tmpfs"))
    assert memory_of(Path("/my disk/state"), read_mounts(tmp_path), tmp_path) == "tmpfs"

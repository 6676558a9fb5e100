"""Setup warns before it writes to a file system that a restart empties."""

from examinations import write

OVERLAY = "22 1 0:20 / / rw - overlay overlay rw,lowerdir=/lower,upperdir=/upper/upper\n"
CARD = "22 1 179:2 / / rw - ext4 /dev/root rw\n"


def test_an_overlay_root_is_reported_before_anything_is_written(pi, connection, capsys):
    write(pi.root, "proc/self/mountinfo", OVERLAY)
    assert pi.setup(connection_string_file=connection, dry_run=True) == 0
    said = capsys.readouterr().err
    assert "/etc/sensor-agent is in memory (overlay), so a restart" in said
    assert "Overlay File System" in said


def test_a_card_is_not_reported(pi, connection, capsys):
    write(pi.root, "proc/self/mountinfo", CARD)
    assert pi.setup(connection_string_file=connection, dry_run=True) == 0
    assert "in memory" not in capsys.readouterr().err

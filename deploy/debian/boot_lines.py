"""Removes and restores the lines of sensor-agent in config.txt.

    launch --program boot_lines.py remove    when the package is removed
    launch --program boot_lines.py restore   when it is installed again

Without the package, nothing needs the sensor's GPIO line, and the kernel would hold it. When the
package is purged, this program is gone, so its removal removes them, too. They are kept beside
the configuration. If they stay, postrm says so.
"""

import os
import sys
from pathlib import Path

from hw import boot_config
from hw.errors import BootConfigError

KEPT = Path("etc/sensor-agent/removed-lines.txt")


def main() -> None:
    steps = {"remove": remove, "restore": restore}
    try:
        steps[sys.argv[1]](Path("/"))
    except (BootConfigError, OSError) as error:
        print(error, file=sys.stderr)


def remove(root: Path) -> None:
    """Remove the lines, and keep them.

    Raises BootConfigError, or OSError if they cannot be kept; the file is then unchanged.
    """
    file = boot_config.find(root)
    if file is None:
        return
    content = boot_config.read(file)
    if not boot_config.has_block(content):
        return
    if (root / KEPT).parent.is_dir():
        _keep(root / KEPT, "\n".join(_own_lines(content)))
    boot_config.write(file, boot_config.without_driver(content))
    print(f"The kernel's sensor driver was removed from {file}. It stays loaded until a restart.")


def restore(root: Path) -> None:
    """Write again what `remove` has removed. Raises BootConfigError; the next call tries again."""
    kept, file = root / KEPT, boot_config.find(root)
    if not kept.exists():
        return
    lines = kept.read_text(encoding="ascii").splitlines()
    if file is not None:
        content = boot_config.read(file)
        # Not if the owner has written the lines meanwhile.
        if not {line.encode() for line in lines} <= set(content.splitlines()):
            boot_config.write(file, boot_config.with_block(content, *lines))
            print(f"The kernel's sensor driver is in {file} again.")
    kept.unlink()


def _keep(file: Path, text: str) -> None:
    with file.open("w", encoding="ascii") as kept:
        kept.write(text)
        kept.flush()
        os.fsync(kept.fileno())  # Before they are removed from config.txt.


def _own_lines(content: bytes) -> list[str]:
    found, ours = [], False
    for line in content.splitlines():
        if ours and boot_config.OURS.fullmatch(line):
            found.append(line.decode())
        else:
            ours = line == boot_config.BEGIN or (ours and line == boot_config.EVERY_BOARD)
    return found


if __name__ == "__main__":
    main()

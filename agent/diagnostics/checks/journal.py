"""The journal: whether it survives a restart, so that it can explain a crash or a power cut."""

import re
from pathlib import Path

from agent.diagnostics.examination import Examination
from agent.diagnostics.finding import Finding, ok, skipped, warning
from agent.diagnostics.mounts import memory_of, read_mounts
from agent.diagnostics.registry import check
from agent.diagnostics.service_advice import service_is_installed

# By priority: a file replaces one of the same name in a later directory; journald.conf(5).
DIRECTORIES = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd")
ON_DISK = "var/log/journal"
DROP_IN = "/etc/systemd/journald.conf.d/60-persistent.conf"
KEEP = (
    "To keep it on disk: sudo mkdir -p /etc/systemd/journald.conf.d; printf "
    r"'[Journal]\nStorage=persistent\nSystemMaxUse=50M\n' | sudo tee "
    f"{DROP_IN}; sudo systemctl restart systemd-journald"
)
WEAR = (
    "That writes about 45 KB whenever something was logged, at most every 5 minutes: up to 13 MB a "
    "day."
)


@check("journal")
def journal(examination: Examination) -> Finding:
    root = examination.root
    if not (root / "run/systemd/journal").is_dir():
        return skipped("systemd does not run here, so there is no journal")
    if not service_is_installed(root):
        return skipped("the service, which logs to the journal, is not installed")
    return _judge(root)


def _judge(root: Path) -> Finding:
    storage, file = storage_setting(root)
    if storage == "none":
        return warning(f"{file} turns the journal off.", f"{KEEP}. {WEAR}")
    if storage == "volatile":
        line = f"The journal is in memory ({file}), so a restart loses it."
        return warning(line, f"{KEEP}. {WEAR}")
    if storage == "auto" and not (root / ON_DISK).is_dir():
        line = f"The journal is in memory, because /{ON_DISK} does not exist. A restart loses it."
        return warning(line, f"{KEEP}. {WEAR}")
    memory = memory_of(Path("/", ON_DISK), read_mounts(root), root)
    if memory is not None:
        return warning(
            f"/{ON_DISK} is in memory ({memory}), so a power cut loses the journal.",
            "To keep it, turn off what has /var/log in memory, such as log2ram or DietPi-RAMlog. "
            f"{WEAR}",
        )
    return ok("The journal is kept on disk.")


def storage_setting(root: Path) -> tuple[str, Path | None]:
    """Return journald's setting Storage in lower case, and the file that sets it, if any does.

    The default is `auto`: on disk if /var/log/journal exists.
    """
    found: tuple[str, Path | None] = ("auto", None)
    for file in _files(root):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for value in re.findall(r"(?m)^[ \t]*Storage[ \t]*=[ \t]*(\w*)[ \t]*$", text):
            found = (value.lower() or "auto", Path("/", file.relative_to(root)))
    return found


def _files(root: Path) -> list[Path]:
    """Return the files of journald's configuration in the order in which they apply."""
    main = [root / place / "journald.conf" for place in DIRECTORIES]
    drop_ins: dict[str, Path] = {}
    for place in DIRECTORIES:
        for file in (root / place / "journald.conf.d").glob("*.conf"):
            drop_ins.setdefault(file.name, file)
    first = [file for file in main if file.exists()][:1]
    return [*first, *(drop_ins[name] for name in sorted(drop_ins))]

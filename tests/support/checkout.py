"""The files of the project, as a checkout has them."""

import fnmatch
import os
import shutil
from pathlib import Path

from places import ROOT


def project_files():
    """Return the paths of all files of this checkout, except those that .gitignore names.

    Not from git, which a copy without its history does not have.
    """
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    found = []
    for directory, folders, files in os.walk(ROOT):
        place = Path(directory).relative_to(ROOT)
        folders[:] = [name for name in folders if not _is_ignored(place / name, patterns)]
        found += [place / name for name in files if not _is_ignored(place / name, patterns)]
    return sorted(found)


def _is_ignored(path, patterns):
    if path.name == ".git":
        return True
    for pattern in patterns:
        plain = pattern.rstrip("/")
        if fnmatch.fnmatch(f"/{path}" if plain.startswith("/") else path.name, plain):
            return True
    return False


def copy_project(directory):
    """Copy the project's files to a new directory."""
    for name in project_files():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, directory / name)

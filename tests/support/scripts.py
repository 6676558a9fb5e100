"""The project's Python files that are in no package, and its shell scripts."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from places import ROOT


def load_script(path: Path) -> ModuleType:
    """Run the file as a module, and return it. Its `__name__` is not `__main__`."""
    name = f"script_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look there.
    specification.loader.exec_module(module)
    return module


def sh(text, *arguments, before=(), **options):
    """Run lines of shell in the project's directory, and return what subprocess.run does."""
    usual: dict[str, Any] = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "timeout": 100}
    usual |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [*before, "sh", "-euc", text, *arguments]
    return subprocess.run(command, check=False, **usual | options)


def write_program(path, lines):
    """Write a shell script that can be run."""
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)

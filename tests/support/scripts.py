"""Import of the project's Python files that are in no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


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

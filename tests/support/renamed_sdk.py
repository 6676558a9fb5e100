"""`sensor-agent`, with an SDK in which names that are not public have other names.

    python renamed_sdk.py NAME[,NAME...] ARGUMENTS

runs `sensor-agent ARGUMENTS`. In the source of the SDK and of its MQTT client, each NAME is changed
before it is executed: as in a version of them whose authors chose another name.
"""

import re
import sys
from importlib.machinery import PathFinder, SourceFileLoader
from types import CodeType

NAMES = re.compile(rf"\b({sys.argv[1].replace(',', '|')})\b")


class Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        source = self.get_source(fullname)
        assert source is not None
        return compile(NAMES.sub(r"\1_of_another_version", source), self.path, "exec")


class Finder(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        spec = super().find_spec(fullname, path, target)
        if fullname.startswith(("azure.iot.device", "paho.")) and spec is not None:
            assert spec.origin is not None
            spec.loader = Loader(fullname, spec.origin)
        return spec


if __name__ == "__main__":
    sys.meta_path.insert(0, Finder)
    from agent.cli import parser

    sys.exit(parser.main(sys.argv[2:]))

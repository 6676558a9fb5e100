"""The bill of materials of the Debian packages, as CycloneDX 1.5 in JSON.

Specification: https://cyclonedx.org/docs/1.5/json/
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from vendored import Vendored


def bill(version: str, brought: Mapping[str, Iterable[Vendored]]) -> str:
    """Return the bill for this version of the packages, by name, and what each brings."""
    packages = [
        {"type": "application", "bom-ref": name, "name": name, "version": version}
        for name in brought
    ]
    libraries = {one.locked.name: one for several in brought.values() for one in several}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": packages[0]},
        "components": [*packages[1:], *map(_component, libraries.values())],
        "dependencies": [
            {"ref": name, "dependsOn": [_purl(one) for one in several]}
            for name, several in brought.items()
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _component(one: Vendored) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": _purl(one),
        "name": one.locked.name,
        "version": one.locked.version,
        "purl": _purl(one),
        "licenses": [{"license": {"name": one.licence}}],
        "hashes": [{"alg": "SHA-256", "content": one.locked.sha256}],
        "properties": [{"name": "sensor-agent:hashed-file", "value": one.locked.hashed}],
    }


def _purl(one: Vendored) -> str:
    return f"pkg:pypi/{one.locked.name}@{one.locked.version}"

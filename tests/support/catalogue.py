"""Parses the journal's catalogue."""

import re

from places import ROOT

CATALOG = ROOT / "deploy" / "sensor-agent.catalog"


def catalog():
    """Yield each entry: the name in the comment above it, its id, its headers, its text."""
    entries = re.split(r"(?m)^# ([A-Z_]+)\n-- ", CATALOG.read_text(encoding="utf-8"))[1:]
    for name, entry in zip(entries[::2], entries[1::2], strict=True):
        head, _, text = entry.partition("\n\n")
        message_id, *headers = head.splitlines()
        yield name, message_id, dict(line.split(": ", 1) for line in headers), text


ENTRIES = {name: (message_id, headers, text) for name, message_id, headers, text in catalog()}

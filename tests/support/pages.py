"""The project's pages: README, CONTRIBUTING and docs/, and the code in them."""

import re

from places import ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(
        [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    )
}

BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def code_lines(text):
    """Return each line of the code blocks that have no language, and each code span."""
    blocks = [block for language, block in BLOCK.findall(text) if not language]
    spans = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    return [line.strip() for block in blocks for line in block.splitlines()] + spans

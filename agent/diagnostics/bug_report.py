"""Writes a bug report: one text with everything that a bug report needs and no secrets."""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.config.loader import Config
from agent.config.pasted import decode, unquoted
from agent.device.information import device_information
from agent.diagnostics.finding import Finding
from agent.status import Status, status_to_json

REDACTED = "[redacted]"
SHORTEST = 4  # Characters. A shorter line is not a secret, and redacting it would ruin the text.
JOURNAL_LINES = 200

# Redacted wherever it comes from.
LOOKS_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{86}==|[A-Za-z0-9+/]{43}=)(?!=)"
    r"|(?<=sig=)[^&\s\"']+"
    r"|(?<=(?i:SharedAccessKey)=)[^;\s\"']+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.DOTALL,
)

KEY_IN_STRING = re.compile(r"SharedAccessKey\s*=\s*([^;\s\"']+)", re.IGNORECASE)


def secrets_in(files: Iterable[Path]) -> set[str]:
    """Return the secrets in these files. Files that cannot be read have none."""
    found = set()
    for file in files:
        try:
            raw = file.read_bytes()
        except OSError:
            continue
        try:
            text = decode(raw)
        except UnicodeDecodeError:
            text = raw.decode(errors="replace")
        if "-----BEGIN CERTIFICATE" in text:  # Public. LOOKS_SECRET finds a key beside it.
            continue
        found |= {line.strip() for line in text.splitlines() if not line.startswith("-----")}
        found |= {unquoted(line) for line in found} | set(KEY_IN_STRING.findall(text))
    return {secret for secret in found if len(secret) >= SHORTEST}


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return `text` without these secrets and without anything that looks like one."""
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
            text = text.replace(form, REDACTED)
    return LOOKS_SECRET.sub(REDACTED, text)


def journal_lines() -> str:
    """Return the daemon's last lines in the journal, or the reason why there are none."""
    try:
        done = subprocess.run(
            ["journalctl", "-u", "sensor-agent", "-n", str(JOURNAL_LINES), "--no-pager"],  # noqa: S607 - from the PATH.
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"Cannot read the journal: {error}"
    return done.stdout or done.stderr


def write(
    file: Path,
    *,
    config: Config,
    mistakes: Iterable[str],
    findings: Iterable[tuple[str, Finding]],
    status: Status | None,
    settings: Mapping[str, Any],
    secrets: Iterable[str],
    journal: str,
) -> None:
    """Write the report to `file`, readable only by its owner. Raises OSError.

    `settings` are those in the state directory. They say where the device belongs, which a daemon
    that does not run cannot.
    """
    parts = {
        "Checks": "\n".join(_line(name, finding) for name, finding in findings),
        "Machine": json.dumps(device_information(), indent=2),
        "Configuration": "\n".join([json.dumps(asdict(config), indent=2, default=str), *mistakes]),
        "Status of the running daemon": json.dumps(
            status and status_to_json(status), indent=2, ensure_ascii=False
        ),
        "Stored settings": json.dumps(dict(settings), indent=2, ensure_ascii=False),
        "Journal": journal,
    }
    text = "".join(f"== {title}\n\n{part.rstrip()}\n\n" for title, part in parts.items())
    file.touch(mode=0o600)
    file.chmod(0o600)
    # A name from JSON can contain half a surrogate pair.
    file.write_text(redacted(text, secrets), encoding="utf-8", errors="backslashreplace")


def _line(name: str, finding: Finding) -> str:
    more = [finding.advice, *finding.details]
    return "\n".join(
        [f"{finding.outcome}: {name}: {finding.line}", *(f"    {one}" for one in more if one)]
    )

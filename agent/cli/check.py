"""`sensor-agent check`: asks the running daemon to run the checks, or runs them here."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent import __version__
from agent.cloud.move import SETTING as MOVE_SETTING
from agent.cloud.move import current_id_scope
from agent.config.loader import Config
from agent.daemon.control_socket import ask, read_status
from agent.device.model import model_id
from agent.diagnostics import bug_report
from agent.diagnostics.checks import gpio, software
from agent.diagnostics.examination import Examination
from agent.diagnostics.finding import Finding, Outcome
from agent.diagnostics.registry import WRONG
from agent.diagnostics.runner import Findings, chosen, counted, examine
from agent.errors import ConfigError, ControlError, NoAnswerError, NoDaemonError, in_words, phrase
from agent.readings.clock import utc
from agent.status import Status
from agent.storage.settings import read_settings

__all__ = ["check", "chosen"]

DONE, FAILURE = 0, 1
REGISTRATION_PATIENCE = 30.0  # Seconds; a person is waiting.


def check(
    config: Config,
    path: Path | None,
    mistakes: Sequence[str],
    *,
    socket_path: Path,
    state: Path,
    ids: Sequence[str],
    as_json: bool,
    verbose: bool,
    report: Path | None,
) -> int:
    """Run the checks `ids` and print their findings. Returns 1 if one of them failed."""
    asked, refusal = _ask_daemon(socket_path, ids)
    examination = Examination(
        config=config, path=path, mistakes=mistakes, state=state, refusal=refusal
    )
    examination.register = lambda: _register(examination)
    found: Findings = []
    for name, finding in _findings(asked, examination, ids):
        found.append((name, finding))
        if not as_json:
            print(_line(name, finding, verbose=verbose), flush=True)
    status = None if asked is None else asked.status
    if as_json:
        print(json.dumps(_for_programs(found, status), indent=2))
    else:
        whom = "" if asked is None else ", run by the daemon"
        print(f"{counted(found)}{whom}. {_last_words(found)}")
    if report is not None and not _write_report(report, examination, found, status):
        return FAILURE
    return FAILURE if any(one.outcome is Outcome.FAILED for _, one in found) else DONE


@dataclass(frozen=True, slots=True)
class Answer:
    """The findings of the running daemon, and its status."""

    status: Status
    findings: Findings


def _ask_daemon(socket_path: Path, ids: Sequence[str]) -> tuple[Answer | None, ControlError | None]:
    """Return the running daemon's answer, or why it refused; neither if no daemon runs."""
    try:
        answer = ask(socket_path, {"command": "check", "only": list(ids)})
        found = [(name, Finding.from_json(finding)) for name, finding in answer["findings"]]
        return Answer(read_status(answer), found), None
    except NoDaemonError:
        return None, None
    except ControlError as error:
        return None, error


def _findings(
    asked: Answer | None, examination: Examination, ids: Sequence[str]
) -> Iterator[tuple[str, Finding]]:
    if asked is None:
        yield from examine(examination, ids)
        return
    for name, finding in asked.findings:
        if name == "daemon":  # Which version is installed by now, only a new process can see.
            yield name, software.daemon(replace(examination, status=asked.status))
        elif name == "gpio-lines" and _sees_more(examination, finding):
            yield name, gpio.holders(replace(examination, status=asked.status))
        else:
            yield name, finding


def _sees_more(examination: Examination, finding: Finding) -> bool:
    """Return whether this process may name a holder better: root sees every user's processes."""
    has_config = not examination.mistakes
    return finding.outcome is Outcome.FAILED and examination.is_root and has_config


def _register(examination: Examination) -> str:
    """Register, or sign in to the hub that is configured. Returns the hub."""
    config, credentials = examination.sign_in(examination.config)
    assert config.cloud is not None  # noqa: S101 - the check asks only if there is one.
    assert credentials is not None  # noqa: S101 - the same.
    try:
        from agent.cloud.hub import AzureHub  # noqa: PLC0415 - the SDK may be missing.
    except ImportError as error:
        raise ConfigError(f"Microsoft's SDK cannot be imported: {phrase(error)}.") from error
    id_scope = current_id_scope(
        read_settings(examination.state).get(MOVE_SETTING),
        (config.cloud.provisioning_host, config.cloud.id_scope, config.device.id),
    )
    examination.moved_to = id_scope if id_scope != config.cloud.id_scope else None
    hub = AzureHub(
        cloud=config.cloud,
        credentials=credentials,
        device_id=config.device.id,
        model_id=model_id(config.sensor.unit),
    )

    async def sign_in() -> str:
        assignment = await hub.register(id_scope, deadline=REGISTRATION_PATIENCE)
        if id_scope is None:
            try:
                async with (
                    asyncio.timeout(REGISTRATION_PATIENCE),
                    hub.connect(assignment, asyncio.Queue()),
                ):
                    pass  # The hub has accepted the device.
            except TimeoutError:
                what = f"the connection to {assignment.hub}"
                raise NoAnswerError(what, REGISTRATION_PATIENCE) from None
        return assignment.hub

    return asyncio.run(sign_in())


def _line(name: str, finding: Finding, *, verbose: bool) -> str:
    lines = [f"{finding.outcome:<8} {name:<17} {finding.line}"]
    if finding.advice is not None:
        lines.append(f"{'':<26} -> {finding.advice}")
    if verbose:
        lines += [f"{'':<26} {detail}" for detail in finding.details]
    return "\n".join(lines)


def _last_words(found: Findings) -> str:
    if any(finding.outcome in WRONG for _, finding in found):
        return "Follow the advice above, then run this command again."
    return "No problems were found."


def _for_programs(found: Findings, status: Status | None) -> dict[str, Any]:
    return {
        "time": utc(time.time()),
        "version": __version__,
        "asked_daemon": status is not None,
        "ok": not any(one.outcome is Outcome.FAILED for _, one in found),
        "checks": [{"id": name, **one.as_json()} for name, one in found],
    }


def _write_report(
    file: Path, examination: Examination, found: Findings, status: Status | None
) -> bool:
    try:
        bug_report.write(
            file,
            config=examination.config,
            mistakes=examination.mistakes,
            findings=found,
            status=status,
            settings=read_settings(examination.state),
            secrets=bug_report.secrets_in(examination.secret_files),
            journal=bug_report.journal_lines(),
        )
    except OSError as error:
        print(f"Cannot write {file}: {in_words(error)}.", file=sys.stderr)
        return False
    print(f"{file} has everything a bug report needs, and no keys.", file=sys.stderr)
    if os.geteuid() != 0:
        print("Run as root (sudo), it also includes the service's journal.", file=sys.stderr)
    return True

from datetime import UTC, datetime
from pathlib import Path

import pytest
from setups import CONNECTION, GROUP_KEY, Pi

from agent.cli.setup import terminal_questions
from agent.cli.setup.terminal_questions import NoAnswerGiven


@pytest.fixture
def pi(tmp_path):
    (tmp_path / "root").mkdir()
    return Pi(tmp_path / "root")


@pytest.fixture
def connection(tmp_path):
    """A file with a connection string."""
    file = tmp_path / "shed.connection"
    file.write_text(f"{CONNECTION}\n")
    return file


@pytest.fixture
def group_key(tmp_path):
    file = tmp_path / "group.key"
    file.write_text(f"{GROUP_KEY}\n")
    return file


@pytest.fixture
def typed(monkeypatch):
    """Return a function that lets a person at a terminal type these answers, and the questions."""

    def type_them(*answers):
        left, asked = list(answers), []

        def ask(question, default=None):
            asked.append(f"{question} [{default}]" if default else question)
            if not left:
                raise NoAnswerGiven
            return left.pop(0) or default or ""

        monkeypatch.setattr(terminal_questions, "is_terminal", lambda: True)
        monkeypatch.setattr(terminal_questions, "ask_line", ask)
        monkeypatch.setattr(terminal_questions, "ask_secret", ask)
        return asked

    return type_them


@pytest.fixture
def issue(tmp_path):
    """Return a function that makes certificate and key of a device, and their authority."""
    from central.transport.certificates import issue_device_certificate  # noqa: PLC0415 - slow.

    def issue(device_id: str, directory: Path = tmp_path) -> tuple[Path, Path]:
        made = issue_device_certificate(directory, device_id, datetime.now(UTC))
        (directory / "ca.pem").write_bytes((directory / "device-ca.pem").read_bytes())
        return made

    return issue


@pytest.fixture
def certificate(issue):
    """A certificate of a device, and its private key."""
    return issue("shed_1.a")


@pytest.fixture
def ca(tmp_path, certificate):
    """The certificate of an authority."""
    return tmp_path / "ca.pem"

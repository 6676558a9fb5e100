"""Errors of the system in words."""

import errno
import re
import socket

import pytest
from places import ROOT

from agent.errors import (
    START_CENTRAL,
    CertificateUnreadableError,
    OutputError,
    RegistrationError,
    ServiceRefusedError,
    UnreachableError,
    in_words,
    phrase,
    quote,
)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "the name has no address, or there is no network",
        ),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "no name server answers"),
        (OSError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (PermissionError(errno.EACCES, "Permission denied", "/etc/key"), "Permission denied"),
        # As PySocks and asyncio put it.
        (
            OSError("Error connecting to HTTP proxy p:1: [Errno 111] Connection refused"),
            "Error connecting to HTTP proxy p:1: Connection refused",
        ),
        (TimeoutError(), "no answer in time"),
        (TimeoutError("timed out"), "timed out"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_a_system_error_is_described_without_its_number(error, words):
    assert in_words(error) == words


@pytest.mark.parametrize(
    ("host", "reason", "advised"),
    [
        ("localhost", "Connection refused", True),
        ("127.0.0.1", "Connection refused", True),
        ("127.0.0.1", "Connection reset by peer", False),
        ("hub.test", "Connection refused", False),
    ],
)
def test_a_refused_connection_to_this_machine_advises_to_start_central(host, reason, advised):
    assert (START_CENTRAL in str(UnreachableError(host, reason))) == advised


def test_a_quoted_value_is_short_and_has_no_control_characters():
    assert len(quote("x" * 1000)) == 60
    assert "\n" not in quote("a\nb\x1b[31m")


def test_a_value_that_is_not_json_is_quoted_by_its_type():
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert quote(nested) == "a list"


@pytest.mark.parametrize(
    ("text", "phrase_of_it"),
    [
        ("The device is blocked by the operator.", "The device is blocked by the operator"),
        ("Wait. ", "Wait"),
        ("two\r\nlines\x1b[31m", "two lines [31m"),
        ("x" * 1000, "x" * 300),
        ("", ""),
        (ImportError("No module named 'azure'."), "No module named 'azure'"),
    ],
)
def test_foreign_text_is_one_short_line_without_its_full_stop(text, phrase_of_it):
    assert phrase(text) == phrase_of_it


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("hub.test", "The proxy is closed."),
        RegistrationError("pi-1", said="The device is blocked.", hint="Check it."),
        ServiceRefusedError("hub.test", "a report", said="Status 413.", status=413),
        CertificateUnreadableError("There is no file."),
        OutputError("No space left on device."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_stop_of_foreign_text_is_not_doubled(error):
    assert ".." not in str(error)


def test_no_sentence_ends_with_an_error_and_a_full_stop_of_its_own():
    found = [
        f"{path}: {line.strip()}"
        for folder in ("agent", "hw")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"\{(error|cause|said|reason)\}\.", line)
    ]
    assert found == []

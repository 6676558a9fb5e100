"""Errors of the system in words."""

import errno
import socket

import pytest

from agent.errors import START_CENTRAL, UnreachableError, in_words


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

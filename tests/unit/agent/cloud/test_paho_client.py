"""Our options of paho's client, without a connection."""

import errno
import logging
import os
from unittest.mock import Mock

from agent.cloud.paho_client import PahoClient


def test_a_connection_for_which_no_file_descriptor_is_left_is_used_all_the_same(
    monkeypatch, caplog
):
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    monkeypatch.setattr(os, "dup", Mock(side_effect=error))
    client = PahoClient()
    with caplog.at_level(logging.DEBUG):
        client.on_socket_open(client, None, Mock(fileno=lambda: 7))
    assert f"may send packets with a delay: {error}" in caplog.text

"""Files that root can read and the service cannot are found without asking the service."""

import os
from pathlib import Path

import pytest

from agent.diagnostics.service_access import ServiceUser, hidden_from_service

USER = ServiceUser(998, frozenset({997, 20}))
DIRECTORY = 0o040755


def stat_of(**modes):
    """Return a function like Path.stat. Names are open directories, except these (mode, owner)."""

    def stat(path):
        mode, uid, gid = modes.get(path.name, (DIRECTORY, 0, 0))
        if mode is None:
            raise FileNotFoundError(path)
        return os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))

    return stat


def judge(name, **modes):
    return hidden_from_service([Path(name)], user=USER, stat=stat_of(**modes))


@pytest.mark.parametrize(
    "file",
    ["/home/anna/device.key", "/root/device.key", "/run/user/1000/key", "/etc/../home/a/key"],
)
def test_the_service_sees_no_home_directory(file):
    reason = judge(file, key=(0o100644, 998, 997))
    assert "no access to home directories" in reason
    assert file in reason


@pytest.mark.parametrize(
    ("mode", "owner", "may_read"),
    [
        ((0o100600), (0, 0), False),
        ((0o100600), (998, 997), True),
        ((0o100640), (0, 997), True),
        ((0o100640), (0, 20), True),
        ((0o100640), (0, 0), False),
        ((0o100644), (0, 0), True),
        ((0o100044), (998, 0), False),  # The owner's bits count for the owner.
    ],
)
def test_the_mode_of_a_file_counts_for_the_services_user(mode, owner, may_read):
    reason = judge("/etc/sensor-agent/key", key=(mode, *owner))
    assert (reason is None) is may_read
    assert (
        may_read or reason == "The service's user sensor-agent cannot read /etc/sensor-agent/key."
    )


def test_each_directory_must_be_open_to_the_services_user():
    key = (0o100644, 0, 0)
    assert judge("/srv/keys/key", key=key) is None
    assert judge("/srv/keys/key", key=key, keys=(0o040700, 0, 0)) is not None
    assert judge("/srv/keys/key", key=key, srv=(0o040750, 0, 997)) is None


def test_systemd_reads_the_credentials_for_the_service():
    assert judge("/etc/sensor-agent/credentials/key", credentials=(0o040700, 0, 0)) is None


def test_a_missing_file_and_a_missing_user_are_not_judged():
    assert judge("/etc/sensor-agent/key", key=(None, 0, 0)) is None
    assert hidden_from_service([], user=USER) is None


def test_only_the_file_that_is_hidden_is_named():
    files = [Path("/etc/sensor-agent/credentials/key"), Path("/root/ca.pem")]
    assert "/root/ca.pem" in str(hidden_from_service(files, user=USER, stat=stat_of()))

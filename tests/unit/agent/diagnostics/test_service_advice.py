"""Advice fits the machine: with the service or without, in its group or not."""

import pytest

from agent.diagnostics import service_advice
from agent.diagnostics.service_advice import (
    group_of,
    how_to_join,
    how_to_restart,
    how_to_start,
    where_the_log_is,
)


@pytest.mark.parametrize("advice", [how_to_start, how_to_restart, where_the_log_is])
def test_the_service_is_named_only_if_it_is_installed(tmp_path, advice):
    assert "sudo" not in advice(tmp_path)
    unit = tmp_path / "etc/systemd/system/sensor-agent.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    assert "sudo" in advice(tmp_path)


def join(members, session):
    return how_to_join("sensor-agent", user="anna", members=lambda _: members, session=session)


def test_who_is_not_in_the_group_learns_how_to_join_it():
    assert join([], ["anna"]) == (
        "Use sudo, or join the group and log in again: sudo usermod -aG sensor-agent anna"
    )


def test_who_joined_since_the_last_login_only_has_to_log_in_again():
    assert "Log out and log in again" in join(["anna"], ["anna", "sudo"])
    assert "sudo" in join(["anna"], ["anna", "sensor-agent"])


def test_a_daemon_of_another_user_is_asked_as_that_user():
    assert how_to_join("bob") == "Use sudo, or run the command as the user that runs the daemon."


def test_the_group_of_a_socket_in_a_closed_directory_is_that_of_the_directory(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(service_advice.grp, "getgrgid", Group)
    assert group_of(tmp_path / "closed" / "control.sock") == f"group-{tmp_path.stat().st_gid}"

    def unknown(_number):
        raise KeyError

    monkeypatch.setattr(service_advice.grp, "getgrgid", unknown)
    assert group_of(tmp_path) == str(tmp_path.stat().st_gid)


class Group:
    def __init__(self, number):
        self.gr_name = f"group-{number}"

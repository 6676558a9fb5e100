"""Advice depends on the service and on the user's groups."""

import grp

import pytest

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


def test_users_outside_the_group_are_advised_to_join_it():
    assert join([], ["anna"]) == (
        "Use sudo, or join the group and log in again: sudo usermod -aG sensor-agent anna"
    )


def test_new_members_of_the_group_are_advised_to_log_in_again():
    assert "Log out and log in again" in join(["anna"], ["anna", "sudo"])
    assert "sudo" in join(["anna"], ["anna", "sensor-agent"])


def test_another_group_is_not_to_be_joined():
    assert how_to_join("bob") == "Use sudo, or run the command as the user that runs the daemon."


def test_the_group_of_a_hidden_socket_is_its_directorys(tmp_path, monkeypatch):
    monkeypatch.setattr(grp, "getgrgid", Group)
    assert group_of(tmp_path / "closed" / "control.sock") == f"group-{tmp_path.stat().st_gid}"

    def unknown(_number):
        raise KeyError

    monkeypatch.setattr(grp, "getgrgid", unknown)
    assert group_of(tmp_path) == str(tmp_path.stat().st_gid)


class Group:
    def __init__(self, number):
        self.gr_name = f"group-{number}"

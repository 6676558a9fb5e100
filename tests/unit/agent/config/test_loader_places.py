from pathlib import Path

from agent.config import loader


def test_a_named_file_is_used_even_if_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "SYSTEM_FILE", tmp_path / "system.toml")
    (tmp_path / "system.toml").touch()
    assert loader.find(tmp_path / "other.toml", {}) == tmp_path / "other.toml"


def test_the_systems_file_comes_before_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "SYSTEM_FILE", tmp_path / "etc" / "config.toml")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}
    home = tmp_path / ".config" / "sensor-agent" / "config.toml"
    xdg = tmp_path / "xdg" / "sensor-agent" / "config.toml"
    assert loader.find(None, environ) is None
    for path in (home, xdg, loader.SYSTEM_FILE):
        path.parent.mkdir(parents=True)
        path.touch()
    assert loader.find(None, environ) == loader.SYSTEM_FILE
    loader.SYSTEM_FILE.unlink()
    assert loader.find(None, environ) == xdg
    assert loader.find(None, environ | {"XDG_CONFIG_HOME": "relative"}) == home
    assert loader.find(None, {"HOME": str(tmp_path)}) == home


def test_a_file_in_a_closed_directory_counts_as_existing(tmp_path, monkeypatch):
    def refuse(*_args, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(loader, "SYSTEM_FILE", tmp_path / "config.toml")
    monkeypatch.setattr(Path, "stat", refuse)
    assert loader.find(None, {"HOME": "/nonexistent"}) == tmp_path / "config.toml"


def test_systemds_directories_come_first():
    environ = {
        "STATE_DIRECTORY": "/a:/b",
        "RUNTIME_DIRECTORY": "/c:/d",
        "XDG_STATE_HOME": "/e",
        "HOME": "/home/anna",
    }
    for path in (None, Path("config.toml"), loader.SYSTEM_FILE):
        assert loader.state_directory(environ, path) == Path("/a")
        assert loader.runtime_directory(environ, path) == Path("/c")


def test_a_command_finds_the_directories_of_the_service():
    environ = {"HOME": "/home/anna", "XDG_STATE_HOME": "/home/anna/state"}
    assert loader.state_directory(environ, loader.SYSTEM_FILE) == Path("/var/lib/sensor-agent")
    assert loader.runtime_directory(environ, loader.SYSTEM_FILE) == Path("/run/sensor-agent")


def test_without_a_service_state_and_socket_are_in_the_home_directory():
    environ = {"HOME": "/home/anna"}
    expected = Path("/home/anna/.local/state/sensor-agent")
    assert loader.state_directory(environ, None) == expected
    assert loader.runtime_directory(environ, Path("config.toml")) == expected
    environ["XDG_STATE_HOME"] = "/state"
    assert loader.state_directory(environ, None) == Path("/state/sensor-agent")
    environ["STATE_DIRECTORY"] = "/mine"
    assert loader.runtime_directory(environ, loader.SYSTEM_FILE) == Path("/mine")

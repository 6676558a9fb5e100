import time

import pytest

from agent.status import SetAsideFile
from agent.storage.set_aside import Reason, set_aside, set_aside_earlier_store, set_aside_files


@pytest.fixture(autouse=True)
def date(monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda *_: "20261126T120000Z")


@pytest.mark.parametrize("reason", Reason)
def test_a_renamed_file_is_logged_once_and_listed(tmp_path, caplog, reason):
    (tmp_path / "a").write_text("content")
    aside = set_aside(tmp_path / "a", reason)
    assert aside.name == f"a.{reason}-20261126T120000Z"
    assert aside.read_text() == "content"
    assert set_aside_files(tmp_path) == (SetAsideFile(file=aside.name, reason=reason),)
    (line,) = caplog.records
    assert str(tmp_path / "a") in line.getMessage()
    assert aside.name in line.getMessage()


def test_a_folder_is_renamed_and_an_earlier_one_is_not_replaced(tmp_path):
    for number in range(3):
        (tmp_path / "outbox").mkdir()
        (tmp_path / "outbox" / str(number)).touch()
        set_aside(tmp_path / "outbox", Reason.OTHER_BOARD)
    assert [one.file for one in set_aside_files(tmp_path)] == [
        "outbox.other-board-20261126T120000Z",
        "outbox.other-board-20261126T120000Z-2",
        "outbox.other-board-20261126T120000Z-3",
    ]


def test_the_store_of_an_earlier_version_is_renamed_with_its_wal(tmp_path, caplog):
    for ending in ("", "-wal", "-shm"):
        (tmp_path / f"state.db{ending}").write_text(ending)
    set_aside_earlier_store(tmp_path)
    set_aside_earlier_store(tmp_path)
    renamed = "state.db.earlier-version-20261126T120000Z"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        f"{renamed}{ending}": ending for ending in ("", "-wal", "-shm")
    }
    assert [one.file for one in set_aside_files(tmp_path)] == [renamed]
    assert len(caplog.records) == 1


def test_other_files_and_a_missing_directory_are_not_listed(tmp_path):
    for name in ("settings.json", ".settings.json.new", "a.damaged", ".damaged-20261126T120000Z"):
        (tmp_path / name).touch()
    assert set_aside_files(tmp_path) == ()
    assert set_aside_files(tmp_path / "none") == ()

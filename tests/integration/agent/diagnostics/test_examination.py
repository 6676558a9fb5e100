from scripts import write_program

from agent.diagnostics import examination


def test_vcgencmd_runs_if_it_is_installed(tmp_path, monkeypatch):
    write_program(tmp_path / "vcgencmd", "echo throttled=0x50000 $1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert examination.vcgencmd() == "throttled=0x50000 get_throttled\n"
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert examination.vcgencmd() is None

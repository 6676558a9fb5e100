from hw.sensors.child_process import python_for_programs


def test_programs_are_started_by_the_launcher_of_the_debian_package(tmp_path):
    launcher = tmp_path / "launch"
    launcher.touch()
    assert python_for_programs(launcher) == [str(launcher), "--program"]


def test_without_a_launcher_this_python_starts_them_outside_the_working_directory(tmp_path):
    assert python_for_programs(tmp_path / "launch")[1:] == ["-P"]

"""Which processes hold GPIO lines, in a /proc that a test makes."""

from pathlib import Path

import pytest
from examinations import write

from agent.diagnostics.line_processes import Process, processes


@pytest.fixture(autouse=True)
def first(tmp_path):
    """The first process, which everyone sees if none is hidden."""
    write(tmp_path, "1/comm", "systemd\n")


def run(proc, pid, *, name="python3", arguments="", parent=1, unit="", **requests):
    """Have a process. `requests` maps "n<fd>" to its kind, or to the chip and lines it holds."""
    write(proc, f"{pid}/comm", f"{name}\n")
    write(proc, f"{pid}/cmdline", arguments.replace(" ", "\0"))
    write(proc, f"{pid}/status", f"Name:\t{name}\nPPid:\t{parent}\n")
    scope = f"/system.slice/{unit}.service" if unit else "/user.slice/session-1.scope"
    write(proc, f"{pid}/cgroup", f"0::{scope}\n")
    (proc / f"{pid}/fd").mkdir()
    for number, (kind, info) in requests.items():
        (proc / f"{pid}/fd" / number[1:]).symlink_to(kind)
        write(proc, f"{pid}/fdinfo/{number[1:]}", f"pos:\t0\nflags:\t02\n{info}")


NEW = "anon_inode:gpio-line"
OLD = "anon_inode:gpio-linehandle"


def held(*lines, chip="gpiochip0"):
    return "".join(f"gpio-chip:\t{chip}\ngpio-line:\t{line}\n" for line in lines)


def test_lines_of_newer_requests_are_known_by_number(tmp_path):
    run(tmp_path, 812, name="gpioset", n3=("/dev/gpiochip0", ""), n5=(NEW, held(17, 22)))
    run(tmp_path, 900, n0=("/dev/null", ""), n1=("pipe:[77]", ""))
    found = processes(tmp_path, own=1000)
    lines = frozenset({("gpiochip0", 17), ("gpiochip0", 22)})
    assert found.found == [
        Process(812, "gpioset", unit="", is_own=False, lines=lines, has_others=False)
    ]
    assert found.are_all
    assert found.holder("gpiochip0", 22) == found.found[0]
    assert found.holder("gpiochip1", 22) is None
    assert found.candidates() == []


def test_of_older_requests_only_the_process_is_known(tmp_path):
    run(tmp_path, 812, unit="fan", n3=(OLD, ""), n4=(NEW, held(5)))
    [found] = processes(tmp_path, own=1000).candidates()
    assert (found.unit, set(found.lines)) == ("fan", {("gpiochip0", 5)})


@pytest.mark.parametrize(
    ("own", "options"),
    [
        (812, {}),
        (700, {"parent": 700}),
        (1000, {"unit": "sensor-agent"}),
        (1000, {"arguments": "/usr/bin/python3 /usr/bin/sensor-agent run"}),
        (1000, {"arguments": "/opt/bin/python -m agent run"}),
    ],
)
def test_a_process_of_this_program_is_recognized(tmp_path, own, options):
    run(tmp_path, 700, name="bash", arguments="bash")
    run(tmp_path, 812, n3=(NEW, held(17)), **options)
    assert [one.is_own for one in processes(tmp_path, own=own).found] == [True]


def test_another_program_is_not_taken_for_this_one(tmp_path):
    run(tmp_path, 700, name="bash", arguments="bash")
    run(
        tmp_path,
        812,
        parent=700,
        unit="sensor-agent-central",
        arguments="python3 fan.py --log sensor-agent",
        n3=(NEW, held(17)),
    )
    assert [one.is_own for one in processes(tmp_path, own=1000).found] == [False]


def test_processes_that_this_user_may_not_look_at_are_counted_as_missing(tmp_path, monkeypatch):
    run(tmp_path, 700, n3=(NEW, held(17)))
    run(tmp_path, 812, n3=(NEW, held(4)))
    real = Path.iterdir

    def iterdir(path):
        if path.parent.name == "700":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found = processes(tmp_path, own=1000)
    assert ([one.pid for one in found.found], found.are_all) == ([812], False)


def test_where_other_users_processes_are_hidden_some_are_missing(tmp_path):
    run(tmp_path, 812, n3=(NEW, held(4)))
    (tmp_path / "1/comm").unlink()
    (tmp_path / "1").rmdir()  # As in the service, by ProtectProc=invisible.
    assert not processes(tmp_path, own=1000).are_all


def test_of_a_helper_of_this_program_the_main_process_is_named(tmp_path):
    run(tmp_path, 700, arguments="/usr/bin/python3 /usr/bin/sensor-agent run")
    run(tmp_path, 812, parent=700, arguments="/opt/libgpiod_pulsein", n3=(NEW, held(4)))
    [found] = processes(tmp_path, own=1000).found
    assert (found.pid, found.is_own) == (700, True)


def test_a_users_own_service_is_not_taken_for_one_of_the_system(tmp_path):
    run(tmp_path, 812, n3=(NEW, held(17)))
    slices = "/user.slice/user-1000.slice/user@1000.service/app.slice/fan.service"
    write(tmp_path, "812/cgroup", f"0::{slices}\n")
    assert [one.unit for one in processes(tmp_path, own=1000).found] == [""]


def test_a_process_that_ends_meanwhile_is_left_out(tmp_path):
    write(tmp_path, "812/comm", "gone\n")
    assert processes(tmp_path).are_all

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from blinka import CHILD, PYTHONPATH, needs_blinka
from places import ROOT

from hw import Reading
from hw.errors import Fault, SensorError
from hw.sensors import adafruit
from hw.sensors.adafruit import AdafruitSensor, sweep_queues
from hw.sensors.adafruit_child import QUEUE_MODE
from hw.sensors.child_process import Child


def eventually(condition):
    """Wait for another process, as long as a slow machine may need."""
    until = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def is_gone(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"  # Some containers do not reap orphans.


def children_of(pid):
    lists = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for child in " ".join(lists).split()]


def queues():
    """Return the queues marked as ours on this machine, with the processes that used them last."""
    rows = [row.split() for row in Path("/proc/sysvipc/msg").read_text().splitlines()[1:]]
    return {row[1]: {int(row[5]), int(row[6])} for row in rows if int(row[2], 8) == QUEUE_MODE}


def queues_of(*pids):
    """Return the queues that one of these processes or their threads used last."""
    return [queue for queue, users in queues().items() if users & set(pids)]


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def processes_marked(mark):
    """Return the living processes with this in their initial environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
    return [pid for pid in found if not is_gone(pid)]


@pytest.fixture
def nothing_left(monkeypatch, tmp_path):
    """Compare processes, threads, open files, files and queues before and after the test."""
    mark = f"STARTED_BY={uuid.uuid4()}"
    monkeypatch.setenv(*mark.split("="))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gc.collect()
    threads, files, queues_before = threading.active_count(), open_files(), queues().keys()
    yield
    # Fewer: what earlier tests of this process left has ended meanwhile.
    assert threading.active_count() <= threads
    assert open_files() <= files
    assert list(tmp_path.iterdir()) == []
    eventually(lambda: not processes_marked(mark))
    # Another run of these tests may have some now, but only queues left behind stay.
    eventually(lambda: not queues().keys() - queues_before)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def sensor(nothing_left, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.delenv("HELPER", raising=False)
    with AdafruitSensor(model="dht22", pin=4, command=CHILD, clock=Clock()) as sensor:
        yield sensor


def fault_of(sensor):
    with pytest.raises(SensorError) as caught:
        sensor.read()
    return caught.value.fault, str(caught.value)


@needs_blinka
def test_the_sensor_is_read_through_blinkas_pulsein(sensor):
    long = sensor.deadline
    assert [sensor.read() for _ in range(3)] == [Reading(21.5, 45.0)] * 3
    assert sensor.deadline < long  # Only the first read waits for Blinka to be imported.
    assert len(queues_of(*children_of(sensor._child.pid))) == 1


@needs_blinka
def test_closing_ends_the_child_and_its_helper(sensor):
    sensor.read()
    child = sensor._child.pid
    (helper,) = children_of(child)
    sensor.close()
    sensor.close()
    assert is_gone(child)
    eventually(lambda: is_gone(helper))
    assert fault_of(sensor) == (Fault.FAILED, "The sensor is closed.")


@needs_blinka
def test_no_answer_is_reported_with_what_to_check(sensor, monkeypatch):
    monkeypatch.setenv("HELPER", "silent")
    fault, sentence = fault_of(sensor)
    assert fault is Fault.NO_ANSWER
    assert "data wire" in sentence
    assert "DHT11" in sentence
    child = sensor._child.pid
    assert fault_of(sensor)[0] is Fault.NO_ANSWER
    assert sensor._child.pid == child  # The child is not the cause, so it stays.


@needs_blinka
@pytest.mark.parametrize(
    ("helper", "fault", "part"),
    [
        ("busy", Fault.BUSY, "GPIO 4 is in use"),
        ("no chip", Fault.NO_PERMISSION, "usermod -aG gpio"),
        ("no start", Fault.FAILED, "did not start within 0.25 s"),
        ("exits", Fault.FAILED, "no thanks"),
    ],
)
def test_a_helper_that_cannot_work_is_explained_and_the_sensor_recovers(
    sensor, monkeypatch, helper, fault, part
):
    monkeypatch.setenv("HELPER", helper)
    monkeypatch.setattr(adafruit, "READ_DEADLINE", 2.0)
    for _ in range(2):
        reported, sentence = fault_of(sensor)
        assert reported is fault
        assert part in sentence
    monkeypatch.setenv("HELPER", "good")
    reported, sentence = fault_of(sensor)  # It is too early for a third child.
    assert reported is fault
    assert "restarts in 2 s" in sentence
    sensor._clock.now += 2.0
    assert sensor.read() == Reading(21.5, 45.0)


@needs_blinka
@pytest.mark.parametrize("helper", ["dies", "hangs"])
def test_a_helper_that_dies_or_hangs_is_killed_at_the_deadline(sensor, monkeypatch, helper):
    monkeypatch.setenv("HELPER", helper)
    monkeypatch.setattr(adafruit, "READ_DEADLINE", 1.0)
    fault, sentence = fault_of(sensor)
    assert fault is Fault.FAILED
    assert "hung" in sentence
    assert sensor._child is None
    monkeypatch.setattr(adafruit, "READ_DEADLINE", 10.0)
    monkeypatch.setenv("HELPER", "good")
    assert sensor.read() == Reading(21.5, 45.0)


@needs_blinka
@pytest.mark.parametrize("victim", ["child", "helper", "both"])
def test_the_sensor_recovers_from_kill_9(sensor, victim):
    sensor.read()
    child = sensor._child.pid
    (helper,) = children_of(child)
    if victim in {"child", "both"}:
        os.kill(child, signal.SIGKILL)
        eventually(lambda: is_gone(child))
    if victim in {"helper", "both"}:
        os.kill(helper, signal.SIGKILL)
        eventually(lambda: is_gone(helper))
    assert fault_of(sensor)[0] is Fault.FAILED
    assert sensor.read() == Reading(21.5, 45.0)
    assert sensor._child.pid != child
    assert queues_of(child, helper) == []
    assert len(queues_of(*children_of(sensor._child.pid))) == 1
    eventually(lambda: is_gone(helper))


@needs_blinka
def test_repeated_kill_9_leaves_nothing_behind(sensor):
    sensor.read()
    counts = set()
    for victim in ["child", "helper"] * 4:
        child = sensor._child.pid
        (helper,) = children_of(child)
        os.kill(child if victim == "child" else helper, signal.SIGKILL)
        eventually(lambda gone=child if victim == "child" else helper: is_gone(gone))
        assert fault_of(sensor)[0] is Fault.FAILED
        assert sensor.read() == Reading(21.5, 45.0)
        eventually(lambda child=child, helper=helper: is_gone(child) and is_gone(helper))
        marked = processes_marked(f"STARTED_BY={os.environ['STARTED_BY']}")
        counts.add((len(marked), threading.active_count(), open_files()))
        assert queues_of(child, helper) == []
    assert len(counts) == 1, counts
    assert counts.pop()[0] == 2  # The child and its helper.


@needs_blinka
def test_close_ends_a_read_that_waits_for_a_hanging_helper(sensor, monkeypatch):
    monkeypatch.setenv("HELPER", "hangs")
    outcome = []
    reader = threading.Thread(target=lambda: outcome.append(fault_of(sensor)))
    reader.start()
    eventually(lambda: sensor._child is not None and children_of(sensor._child.pid))
    sensor.close()
    reader.join(20.0)
    assert outcome == [(Fault.FAILED, "The sensor is closed.")]


@needs_blinka
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_child_ignores_signals_to_the_whole_service(sensor, number):
    sensor.read()
    os.kill(sensor._child.pid, number)
    assert sensor.read() == Reading(21.5, 45.0)


@needs_blinka
def test_modules_in_the_working_directory_are_not_imported(
    nothing_left, monkeypatch, tmp_path_factory
):
    here = tmp_path_factory.mktemp("here")
    for name in ("board", "adafruit_dht", "queue"):
        (here / f"{name}.py").write_text(f"raise ImportError('a {name} of their own')")
    monkeypatch.chdir(here)
    with AdafruitSensor(model="dht22", pin=4) as sensor:
        fault, sentence = fault_of(sensor)
    assert fault is Fault.FAILED
    assert sentence.startswith(
        "The sensor's driver failed: "
    )  # It fails, because this machine is not a Pi.
    assert "of their own" not in sentence


DAEMON = """
import sys
from hw.sensors.adafruit import AdafruitSensor
sensor = AdafruitSensor(model="dht22", pin=4, command=sys.argv[1:])
sensor.read()
print(sensor._child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def daemon(nothing_left, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, *CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as daemon:
        yield daemon
        daemon.kill()


@needs_blinka
def test_the_child_and_its_helper_end_when_the_daemon_is_killed(daemon):
    child = int(daemon.stdout.readline())
    (helper,) = children_of(child)
    assert len(queues_of(child, helper)) == 1
    daemon.kill()
    eventually(lambda: is_gone(child) and is_gone(helper))
    assert queues_of(child, helper) == []


@needs_blinka
def test_queues_of_killed_processes_are_removed_by_the_next_start(daemon):
    child = int(daemon.stdout.readline())
    (helper,) = children_of(child)
    os.kill(child, signal.SIGSTOP)  # It cannot clean up when the daemon ends.
    for pid in (daemon.pid, helper, child):
        os.kill(pid, signal.SIGKILL)
    daemon.wait(20.0)
    eventually(lambda: is_gone(child) and is_gone(helper))
    assert len(queues_of(child, helper)) == 1
    sweep_queues()
    assert queues_of(child, helper) == []


@needs_blinka
def test_queues_of_others_and_queues_in_use_are_kept(nothing_left):
    sysv_ipc = importlib.import_module("sysv_ipc")
    other = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX, mode=0o600)
    young = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX, mode=QUEUE_MODE)
    used = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX, mode=QUEUE_MODE)
    try:
        used.send(b"by this process, which lives")
        killed = Child(
            [sys.executable, "-c", ""], environment=os.environ
        )  # The child of another sensor.
        killed.end()
        sweep_queues(killed)
        for queue in (other, young, used):
            assert queue.current_messages in {0, 1}  # Raises if the queue was removed.
    finally:
        for queue in (other, young, used):
            with suppress(sysv_ipc.ExistentialError):
                queue.remove()


MAKE = """
import sysv_ipc
from hw.sensors.adafruit_child import marked_queue
marked_queue(sysv_ipc.MessageQueue, None, flags=sysv_ipc.IPC_CREX)
"""


@needs_blinka
def test_a_queue_whose_creator_died_before_its_helper_started_is_removed(nothing_left):
    with subprocess.Popen([sys.executable, "-c", MAKE], cwd=ROOT) as maker:
        assert maker.wait(20.0) == 0
    (left,) = queues_of(maker.pid)
    sweep_queues()
    assert left not in queues()


def test_a_system_without_message_queues_has_nothing_to_remove(tmp_path):
    sweep_queues(table=tmp_path / "none")
    (tmp_path / "empty").write_text("")
    sweep_queues(table=tmp_path / "empty")


def test_a_child_that_cannot_be_started_is_reported():
    with AdafruitSensor(model="dht22", pin=4, command=["/nonexistent/python"]) as sensor:
        fault, sentence = fault_of(sensor)
    assert fault is Fault.FAILED
    assert "Cannot start the sensor's driver: No such file or directory" in sentence


READY = '{"ready": true}\n'


def answering(answer):
    """Return a child that answers one request."""
    return [sys.executable, "-c", f"print({READY + json.dumps(answer)!r}); input()"]


@pytest.mark.parametrize(
    ("model", "frame", "hint"),
    [
        ("dht22", "2D 00 15 05 47", 'set driver = "dht11"'),
        ("dht11", "02 8C 01 5F EE", 'set driver = "dht22"'),
        ("dht11", "01 00 15 05 1B", "humidity element is broken"),
        ("dht11", "2D 00 15 0B 4D", "noise"),
        ("dht22", "01 FF 00 00 00", 'set driver = "dht21"'),
    ],
)
def test_a_frame_of_another_model_names_the_likely_cause(model, frame, hint):
    command = answering({"frame": list(bytes.fromhex(frame))})
    with AdafruitSensor(model=model, pin=4, command=command) as sensor:
        fault, sentence = fault_of(sensor)
    assert fault is Fault.IMPLAUSIBLE
    assert frame in sentence
    assert hint in sentence


@pytest.mark.parametrize(
    ("model", "frame", "hint"),
    [
        ("dht22", "D7 9A 00 00 00", 'set driver = "dht21"'),
        ("dht22", "01 C2 00 D7 9B", "pull-up resistor."),
        ("dht21", "01 C2 00 D7 9B", 'set driver = "dht22"'),
    ],
)
def test_a_damaged_frame_hints_at_another_model_if_it_looks_like_one(model, frame, hint):
    command = answering({"fault": "checksum", "frame": list(bytes.fromhex(frame))})
    with AdafruitSensor(model=model, pin=4, command=command) as sensor:
        fault, sentence = fault_of(sensor)
    assert fault is Fault.CHECKSUM
    assert hint in sentence


@pytest.mark.parametrize(
    "said",
    [
        "nonsense",
        "[1, 2]",
        "{",
        "7" * 100_000,
        "{}",
        '{"fault": "toothache"}',
        READY + "{}",
        READY + '{"frame": [1, 194, 0, 215]}',
        READY + '{"frame": null}',
        READY + '{"frame": 5}',
        READY + '{"frame": [1, 194, 0, 256, 154]}',
        READY + '{"fault": "toothache"}',
    ],
)
def test_a_child_that_sends_nonsense_is_replaced(said):
    command = [sys.executable, "-c", f"print({said!r}); input()"]
    with AdafruitSensor(model="dht22", pin=4, command=command) as sensor:
        assert fault_of(sensor)[0] is Fault.FAILED
        assert sensor._child is None


def test_the_delay_before_a_restart_grows_to_a_minute():
    clock = Clock()
    waits = []
    with AdafruitSensor(model="dht22", pin=4, command=["/nonexistent"], clock=clock) as sensor:
        for _ in range(8):
            clock.now = sensor._not_before
            fault_of(sensor)
            waits.append(sensor._not_before - clock.now)
    assert waits == [0.0, 2.0, 6.0, 14.0, 30.0, 60.0, 60.0, 60.0]

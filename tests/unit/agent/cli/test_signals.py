import signal
import threading

import pytest

from agent.cli import signals
from agent.cli.signals import Stop, interruptible, stop_signals

pytestmark = pytest.mark.usefixtures("default_signals")


@pytest.fixture
def stop():
    class Recorder:
        time = 100.0
        calls: tuple[str, ...] = ()
        handler: Stop

        def note(self, name):
            self.calls += (name,)

        def send(self, *numbers):
            for number in numbers:
                self.handler(number)
            return self.calls

    recorder = Recorder()
    recorder.handler = Stop(
        lambda: recorder.note("stop"),
        lambda: recorder.note("at once"),
        now=lambda: recorder.time,
    )
    return recorder


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_a_second_one_ends_at_once(stop, first, second):
    assert stop.send(first) == ("stop",)
    assert stop.send(second) == ("stop", "at once")


def test_a_terminal_that_closes_sends_two_signals_that_count_as_one(stop):
    assert stop.send(signal.SIGHUP, signal.SIGHUP) == ("stop",)
    stop.time += 2.0
    assert stop.send(signal.SIGHUP) == ("stop", "at once")


def test_a_hangup_after_another_signal_is_a_second_signal(stop):
    assert stop.send(signal.SIGTERM, signal.SIGHUP) == ("stop", "at once")


def test_under_nohup_a_hangup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in stop_signals()
        with interruptible():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert signal.SIGHUP in stop_signals()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_runs_the_exits_of_with_blocks(number, monkeypatch):
    left: list[object] = []
    monkeypatch.setattr(signals, "leave", left.append)
    before = {one: signal.getsignal(one) for one in stop_signals()}

    def work():
        with interruptible():
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert left == [1]
    assert {one: signal.getsignal(one) for one in stop_signals()} == before


def test_a_thread_handles_no_signals():
    def work():
        with interruptible():
            done.append(signal.getsignal(signal.SIGTERM))

    done: list[object] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGTERM)]

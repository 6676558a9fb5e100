"""What is missing of a device's messages, across restarts, crashes, drops and deletions."""

import itertools
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from central.protocol.sas import new_key
from central.records import Message
from central.storage import completeness as counting
from central.storage import devices, telemetry
from central.storage.registry import Registry
from central.storage.retention import forget
from central.storage.store import Store

A, B, C = "a" * 12, "b" * 12, "c" * 12


class Device:
    """A device whose messages are stored at once, at second 1, 2, 3, ..."""

    def __init__(self, store, name="pi"):
        self.store, self.name, self.now = store, name, 0.0

    def send(self, run, *numbers, created=None, **properties):
        def job(db):
            for number in numbers:
                self.now += 1.0
                system = {"message_id": f"{run}:{number}"}
                telemetry.add_message(
                    db, Message(0, self.name, self.now, created, b"{}", properties, system)
                )

        self.store.call(job)

    def ask(self, **limits):
        return self.store.read(counting.completeness, self.name, **limits)

    def missing(self):
        return {
            (gap.run, gap.first, gap.last) for gap in self.ask().gaps if gap.reason == "missing"
        }

    def is_complete(self):
        found = self.ask()
        return not found.start_unknown and not found.lost


def new_device(store, name="pi"):
    Registry(store, group_key=new_key(), clock=lambda: 0.0).add_device(name)
    return Device(store, name)


@pytest.fixture
def device(store):
    return new_device(store)


def rows(store, table):
    return store.read(lambda db: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our own names


class TestOneRun:
    def test_a_device_that_has_sent_nothing_has_no_start(self, device):
        found = device.ask()
        assert (found.since, found.received, found.start_unknown, found.lost) == (
            None,
            0,
            False,
            {},
        )

    def test_a_first_run_that_begins_with_1_is_complete(self, device):
        device.send(A, 1, 2, 3)
        found = device.ask()
        assert (found.received, found.since, device.is_complete()) == (3, 1.0, True)

    def test_missing_numbers_disappear_when_they_arrive(self, device):
        device.send(A, 1, 2, 6)
        assert device.missing() == {(A, 3, 5)}
        device.send(A, 4)
        assert device.missing() == {(A, 3, 3), (A, 5, 5)}
        device.send(A, 3, 5)
        assert device.is_complete()
        assert rows(device.store, "ranges") == 1

    def test_duplicates_and_late_messages_are_counted_once(self, device):
        device.now = 1000.0
        device.send(A, 1, 2, 2)
        device.send(A, 3, 3, created=5.0)
        found = device.ask()
        assert (found.received, found.duplicates, found.late) == (3, 2, 1)

    def test_a_gap_has_the_times_of_its_neighbours(self, device):
        device.send(A, 1)
        device.send(A, 4, created=0.5)
        [gap] = device.ask().gaps
        assert (gap.first, gap.last, gap.after, gap.before) == (2, 3, 1.0, 0.5)
        device.send(A, 7, dropped=f"{A}:2-2:age")
        old, *_ = device.ask().gaps
        assert (old.first, old.last, old.after, old.before) == (2, 2, 1.0, 0.5)

    def test_a_first_run_that_begins_later_has_an_unknown_start(self, device):
        device.send(A, 5, 6)
        assert device.ask().start_unknown
        assert device.missing() == set()

    def test_devices_are_counted_separately(self, device):
        other = new_device(device.store, "other")
        device.send(A, 1, 3)
        other.send(A, 1, 2)
        assert device.missing() == {(A, 2, 2)}
        assert other.is_complete()

    def test_ids_of_other_clients_are_not_counted(self, device):
        for run in ("box", "A" * 12, "a" * 13, "", f"{A}:1"):
            device.send(run, 1, 7)
        device.send(A, "", "0", "01", "-1", "1 ", "x", "٣", "9" * 16)
        assert device.ask().received == 0
        assert rows(device.store, "messages") == 18


class TestRuns:
    def test_a_restart_is_linked_to_the_last_message_before_it(self, device):
        device.send(A, 1, 2, 3)
        device.send(B, 1, previous=f"{A}:3")
        assert device.is_complete()

    def test_the_end_of_a_run_is_known_by_the_next_one(self, device):
        device.send(A, 1, 2)
        device.send(B, 1, previous=f"{A}:5")
        assert device.missing() == {(A, 3, 5)}
        device.send(A, 3, 4, 5)
        assert device.is_complete()

    def test_a_later_run_without_previous_has_an_unknown_start(self, device):
        device.send(A, 1)
        device.send(B, 1)
        assert device.ask().start_unknown
        device.send(B, 1, previous=f"{A}:1")  # Again, as after a crash.
        assert device.is_complete()

    def test_live_readings_may_arrive_before_the_backlog_of_earlier_runs(self, device):
        device.send(B, 3, 4)
        device.send(A, 1, 2)
        device.send(B, 1, previous=f"{A}:2")
        assert device.missing() == {(B, 2, 2)}
        device.send(B, 2)
        assert device.is_complete()

    def test_a_run_after_one_that_never_arrived_has_an_unknown_start(self, device):
        device.send(B, 1, previous=f"{A}:900")
        found = device.ask()
        assert (found.start_unknown, found.lost) == (True, {})
        device.send(A, *range(1, 901))
        assert device.is_complete()

    def test_two_runs_after_the_same_message_leave_the_end_of_one_unknown(self, device):
        device.send(A, 1, 2)
        device.send(B, 1, previous=f"{A}:2")
        device.send(C, 1, previous=f"{A}:1")  # An older image was restored.
        found = device.ask()
        assert (found.start_unknown, found.lost) == (True, {})

    def test_runs_in_a_circle_have_an_unknown_start(self, device):
        device.send(A, 1, previous=f"{B}:1")
        device.send(B, 1, previous=f"{A}:1")
        assert device.ask().start_unknown

    def test_a_run_cannot_come_before_itself(self, device):
        device.send(A, 1, previous=f"{A}:7")
        assert device.is_complete()


class TestDropped:
    def test_dropped_numbers_are_not_missing(self, device):
        device.send(A, 1, 2)
        device.send(A, 9, dropped=f"{A}:3-5:age,{A}:7-7:damaged")
        found = device.ask()
        assert found.lost == {"age": 3, "damaged": 1, "missing": 2}
        assert not found.start_unknown
        assert device.missing() == {(A, 6, 6), (A, 8, 8)}

    def test_the_begin_of_a_run_may_be_dropped(self, device):
        device.send(A, 4, dropped=f"{A}:1-3:room")
        found = device.ask()
        assert (found.start_unknown, found.lost) == (False, {"room": 3})

    def test_a_run_that_was_dropped_whole_does_not_say_what_was_before_it(self, device):
        device.send(B, 1, previous=f"{A}:7", dropped=f"{A}:1-7:memory")
        found = device.ask()
        assert (found.start_unknown, found.lost) == (True, {"memory": 7})

    def test_repeated_and_growing_reports_count_once(self, device):
        device.send(A, 1)
        for last in (3, 3, 5):
            device.send(A, 6, dropped=f"{A}:2-{last}:age")
        device.send(A, 7, dropped=f"{A}:4-5:room")
        assert device.ask().lost == {"age": 4}

    def test_a_dropped_message_that_had_arrived_is_not_lost(self, device):
        device.send(A, 1, 2, 3)
        device.send(A, 4, dropped=f"{A}:2-3:age")
        assert device.is_complete()


class TestRetention:
    def test_deleted_messages_are_not_missing(self, device):
        device.send(A, *range(1, 50))
        device.send(B, 1, previous=f"{A}:49")
        device.store.call(lambda db: forget(db, before=30.0, most=1e12))
        assert rows(device.store, "messages") == 21
        assert device.is_complete()

    def test_forgotten_runs_do_not_make_the_start_unknown(self, device):
        device.send(A, 1, 3)
        device.send(B, 1, 2, previous=f"{A}:3")
        device.send(C, 1, previous=f"{B}:2")
        device.store.call(lambda db: forget(db, before=4.5, most=1e12))
        assert rows(device.store, "runs") == 1
        device.send(C, 1, previous=f"{B}:2")
        assert device.is_complete()
        assert device.ask().since == 5.0

    def test_a_run_between_others_may_be_forgotten_first(self, device):
        device.send(A, 1)
        device.send(B, 1, previous=f"{A}:3")
        device.send(C, 1, previous=f"{B}:1")
        device.send(A, 2)
        device.store.call(lambda db: forget(db, before=2.5, most=1e12))
        assert rows(device.store, "runs") == 2
        assert device.missing() == {(A, 3, 3)}
        assert not device.ask().start_unknown

    def test_the_newest_run_is_kept(self, device):
        device.send(A, 1, 3)
        device.store.call(lambda db: forget(db, before=1e9, most=1e12))
        assert rows(device.store, "messages") == 0
        device.send(A, 4)
        assert device.missing() == {(A, 2, 2)}

    def test_a_deleted_device_leaves_nothing(self, device):
        device.send(A, 1, 3)
        device.store.call(devices.delete, "pi")
        assert (rows(device.store, "runs"), rows(device.store, "ranges")) == (0, 0)


class TestBounds:
    def test_the_oldest_runs_are_forgotten(self, device):
        names = [f"{number:012x}" for number in range(counting.MOST_RUNS + 20)]
        for before, name in itertools.pairwise(names):
            device.send(name, 1, previous=f"{before}:1")
        assert rows(device.store, "runs") == counting.MOST_RUNS
        assert device.is_complete()

    def test_the_lowest_ranges_are_forgotten(self, device):
        device.send(A, *range(1, 3 * counting.MOST_RANGES, 2))
        assert rows(device.store, "ranges") == counting.MOST_RANGES
        found = device.ask()
        assert found.lost == {"missing": counting.MOST_RANGES}
        assert len(found.gaps) == 20

    def test_ranges_of_the_oldest_run_are_forgotten_first(self, device):
        device.send(A, *range(1, 3 * counting.MOST_RANGES, 2))
        device.send(B, *range(1, counting.MOST_RANGES, 2))
        assert rows(device.store, "ranges") == counting.MOST_RANGES
        assert (B, 2, 2) in {(g.run, g.first, g.last) for g in device.ask(most=10**6).gaps}

    def test_huge_numbers_are_counted_exactly(self, device):
        device.send(A, 1, 999_999_999_999_999)
        assert device.ask().lost == {"missing": 999_999_999_999_997}


RUN_NAMES = st.sampled_from([A, B, C, "d" * 12])
NUMBERS = st.integers(0, 12) | st.integers(0, 10**16)
IDS = st.builds("{}:{}".format, RUN_NAMES, NUMBERS)
ITEMS = st.builds(
    "{}:{}-{}:{}".format,
    RUN_NAMES,
    NUMBERS,
    NUMBERS,
    st.sampled_from([*counting.REASONS, "AGE", "received", ""]),
)
HOSTILE = st.text(max_size=40) | st.sampled_from(["", ",", f"{A}:", ":1", "1-2", f"{A}:1-2"])


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory):
    """One for all examples; each has a device of its own."""
    store = Store(tmp_path_factory.mktemp("completeness") / "central.db")
    yield store
    store.close()


names = (f"device-{number}" for number in itertools.count())


@given(
    st.lists(
        st.tuples(
            IDS | HOSTILE,
            st.none() | IDS | HOSTILE,
            st.none() | st.lists(ITEMS | HOSTILE, max_size=5).map(",".join) | st.just(",x" * 9999),
        ),
        max_size=20,
    )
)
def test_no_property_hurts(shared_store, messages):
    device = new_device(shared_store, next(names))
    for message_id, previous, dropped in messages:
        properties = {"previous": previous, "dropped": dropped}
        given_ones = {name: value for name, value in properties.items() if value is not None}
        run, _, number = message_id.rpartition(":")
        device.send(run, number, **given_ones)
    found = device.ask()
    assert found.received <= len(messages)
    assert all(count > 0 for count in found.lost.values())
    assert found.lost.keys() <= {"missing", *counting.REASONS}
    by_reason = dict.fromkeys(found.lost, 0)
    for gap in device.ask(most=10**6).gaps:
        by_reason[gap.reason] += gap.last - gap.first + 1
    assert by_reason == found.lost


FATES = st.lists(
    st.lists(st.sampled_from(["sent", "sent", "sent", "lost", *counting.REASONS]), max_size=12),
    min_size=1,
    max_size=4,
)


@given(FATES, st.randoms(use_true_random=False))
@example([["lost"], ["age"], ["sent"]], Random(1))  # noqa: S311 - an order, not a secret.
@example([["lost"], ["age", "lost", "sent"]], Random(1))  # noqa: S311 - the same.
def test_whatever_the_order_the_numbers_are_those_of_the_device(shared_store, fates, order):
    """Compares with sets, for a device that sends backlog, live readings and duplicates."""
    device = new_device(shared_store, next(names))
    messages, dropped = _messages(fates)
    sent = [each for each in messages if each[3] == "sent"]
    deliveries = sent + order.sample(sent, len(sent) // 2)
    order.shuffle(deliveries)
    for index, (run, number, previous, _) in enumerate(deliveries):
        properties = {} if previous is None else {"previous": previous}
        if index == len(deliveries) - 1 and dropped:
            properties["dropped"] = ",".join(f"{r}:{n}-{n}:{reason}" for r, n, reason in dropped)
        device.send(run, number, **properties)
    found = device.ask()
    assert found.received == len(sent)
    assert found.duplicates == len(deliveries) - len(sent)
    if not sent:
        return
    assert sum(found.lost.get(reason, 0) for reason in counting.REASONS) == len(dropped)
    lost = {each[:2] for each in messages if each[3] == "lost"}
    gaps = device.ask(most=10**6).gaps
    reported = {
        (g.run, n) for g in gaps if g.reason == "missing" for n in range(g.first, g.last + 1)
    }
    assert reported <= lost
    if not found.start_unknown:  # Only what follows everything else can be lost unnoticed.
        newest = max(index for index, each in enumerate(messages) if each[3] != "lost")
        assert reported == lost - {each[:2] for each in messages[newest + 1 :]}
    if not lost and all("sent" in run for run in fates if run):
        assert not found.start_unknown
        assert "missing" not in found.lost


def _messages(fates):
    """Return each message of a device as (run, number, previous, fate), and what it dropped."""
    messages: list[tuple[str, int, str | None, str]] = []
    dropped: list[tuple[str, int, str]] = []
    before = None
    for index, run_fates in enumerate(fates):
        run = f"{index:012x}"
        previous: str | None = before
        for number, fate in enumerate(run_fates, start=1):
            before = f"{run}:{number}"
            if fate in counting.REASONS:
                dropped.append((run, number, fate))
            messages.append((run, number, previous, fate))
            if fate not in counting.REASONS:  # The oldest that remains has it.
                previous = None
    return messages, dropped


def test_storing_takes_the_same_few_statements_for_any_number_of_messages(device):
    """The cost is counted in steps of SQLite's virtual machine, not in time."""

    def steps(first):
        count = 0

        def step():
            nonlocal count
            count += 1

        def job(db):
            db.set_progress_handler(step, 1)
            message = Message(0, "pi", 1e6, None, b"{}", {}, {"message_id": f"{A}:{first}"})
            telemetry.add_message(db, message)
            db.set_progress_handler(None, 0)

        device.store.call(job)
        return count

    device.send(A, *range(1, 100))
    few = steps(100)
    device.send(A, *range(101, 3_000))
    assert steps(3_000) == few


def test_asking_takes_the_same_steps_for_any_number_of_messages(device):
    def steps():
        count = 0

        def step():
            nonlocal count
            count += 1

        def query(db):
            db.set_progress_handler(step, 1)
            counting.completeness(db, "pi")
            db.set_progress_handler(None, 0)

        device.store.read(query)
        return count

    device.send(A, *range(1, 100), 102)
    few = steps()
    device.send(A, *range(103, 3_000))
    assert steps() == few

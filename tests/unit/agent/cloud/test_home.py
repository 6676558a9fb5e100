import json
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import json_values

from agent.cloud.home import (
    LONGEST_STATUS,
    MOST_SCOPES,
    PATIENCE,
    REFUSALS,
    Home,
    Journey,
    Step,
    from_stored,
    to_stored,
)

NOW = "2026-11-22T10:00:00.000Z"
HOME = Home(scopes=("A",))
MOVING = HOME.ordered("B", by="DeviceMove from hub.a", now=NOW)
REGISTRATION = ["dps.test", "A", "pi-1"]


def failed(journey, *, refused=False, seconds=60.0, reason="No."):
    return journey.failed(reason, refused=refused, seconds=seconds, now=NOW, patience=PATIENCE)


def test_a_device_that_is_not_moved_stays():
    journey = Journey.at_start(HOME, PATIENCE)
    assert journey.id_scope == "A"
    assert failed(journey, refused=True) == journey
    assert journey.worked(NOW) == journey


def test_a_move_is_complete_when_the_new_place_has_worked():
    journey = Journey.at_start(MOVING, PATIENCE)
    assert journey.id_scope == "B"
    home = journey.worked(NOW).home
    assert (home.scopes, home.target, home.status) == (("A", "B"), None, "moved")
    assert home.by == "DeviceMove from hub.a"


def test_refusals_lead_back_once_the_old_place_has_worked():
    journey = Journey.at_start(MOVING, PATIENCE)
    for _ in range(REFUSALS):
        assert journey.id_scope == "B"
        journey = failed(journey, refused=True)
    assert journey.id_scope == "A"
    journey = journey.worked(NOW)
    assert (journey.id_scope, journey.step) == ("B", Step.LAST)
    journey = failed(journey, refused=True, reason="It refused.")
    assert journey.id_scope == "A"
    assert journey.home.scopes == ("A",)
    assert journey.home.status == "The move to ID scope B was undone: It refused."


def test_a_new_place_that_does_not_answer_is_given_fifteen_minutes():
    journey = Journey.at_start(MOVING, PATIENCE)
    for _ in range(14):
        journey = failed(journey)
        assert journey.id_scope == "B"
    assert failed(journey).id_scope == "A"


def test_only_refusals_in_a_row_count():
    journey = Journey.at_start(MOVING, PATIENCE)
    for _ in range(3 * REFUSALS):
        journey = failed(journey, refused=True, seconds=1)
        journey = failed(journey, refused=False, seconds=1)
    assert journey.id_scope == "B"


def test_an_outage_of_the_network_undoes_nothing():
    journey = Journey.at_start(MOVING, PATIENCE)
    for _ in range(1000):
        journey = failed(journey)
        assert journey.home.target == "B"
    assert {journey.id_scope, failed(journey).id_scope} <= {"A", "B"}


def test_when_an_outage_ends_at_the_old_place_the_new_one_still_comes_first():
    journey = Journey.at_start(MOVING, PATIENCE)
    while journey.id_scope == "B":
        journey = failed(journey)
    journey = journey.worked(NOW)
    assert journey.worked(NOW).home.id_scope == "B"


def test_the_time_in_vain_survives_restarts():
    home = MOVING
    for _ in range(15):
        home = failed(Journey.at_start(home, PATIENCE)).home
    assert Journey.at_start(home, PATIENCE).id_scope == "A"


def test_undo_goes_back_one_move():
    home = HOME
    for target in ("B", "C"):
        home = home.ordered(target, by="DeviceMove from hub", now=NOW).arrived(NOW)
    assert home.scopes == ("A", "B", "C")
    once = home.undone(by="hand", now=NOW)
    assert once is not None
    assert (once.id_scope, once.by) == ("B", "hand")
    assert once.status == "The move to ID scope C was undone by hand."
    twice = once.undone(by="hand", now=NOW)
    assert twice is not None
    assert twice.id_scope == "A"
    assert twice.undone(by="hand", now=NOW) is None


def test_undo_of_a_move_in_progress_keeps_the_place():
    undone = MOVING.undone(by="hand", now=NOW)
    assert undone is not None
    assert (undone.scopes, undone.target) == (("A",), None)


def test_the_scopes_of_a_device_that_moves_often_are_bounded():
    home = HOME
    for number in range(50):
        home = home.ordered(f"S{number}", by="x", now=NOW).arrived(NOW)
    assert len(home.scopes) == MOST_SCOPES
    assert (home.scopes[0], home.id_scope) == ("A", "S49")


def test_the_reason_fits_a_property():
    assert len(MOVING.returned("x" * 10_000, NOW).status) == LONGEST_STATUS


@pytest.mark.parametrize("home", [HOME, MOVING, MOVING.arrived(NOW), MOVING.returned("No.", NOW)])
def test_a_home_survives_the_disk(home):
    stored = json.loads(json.dumps(to_stored(home, REGISTRATION)))
    assert from_stored(stored) == (home, REGISTRATION)


@given(json_values, st.sampled_from([None, *to_stored(MOVING, REGISTRATION)]))
def test_a_damaged_home_is_none_or_valid(value, key):
    stored = value if key is None else to_stored(MOVING, REGISTRATION) | {key: value}
    found = from_stored(stored)
    if found is not None:
        text = json.dumps(to_stored(*found))  # As text, because NaN is not equal to itself.
        again = from_stored(json.loads(text))
        assert again is not None
        assert json.dumps(to_stored(*again)) == text


@dataclass
class World:
    """Whether each place accepts the device, and whether its network works."""

    accepts: dict[str, bool]
    network: bool = True

    def after(self, event, journey):
        """Let something happen, and return the journey."""
        match event:
            case "attempt":
                return self.attempt(journey)
            case "kill":
                return restarted(journey)
            case "network":
                self.network = not self.network
            case place:
                self.accepts[place] = not self.accepts[place]
        return journey

    def attempt(self, journey, seconds=60.0):
        """Let the device try once, as the uplink does."""
        accepted = self.accepts[journey.id_scope]
        if self.network and accepted:
            return journey.worked(NOW)
        return failed(journey, refused=self.network and not accepted, seconds=seconds)


def restarted(journey):
    """Return what a process finds that starts after kill -9."""
    stored = json.loads(json.dumps(to_stored(journey.home, REGISTRATION)))
    found = from_stored(stored)
    assert found is not None
    return Journey.at_start(found[0], PATIENCE)


events = st.lists(
    st.sampled_from(["attempt", "attempt", "kill", "network", "A", "B"]),
    max_size=60,
)


@example(history=["B", *["attempt"] * (REFUSALS + 1)], old=False, new=False)
@given(history=events, old=st.booleans(), new=st.booleans())
def test_after_any_history_the_device_reaches_the_place_that_accepts_it(history, old, new):
    world = World({"A": True, "B": True})
    journey = Journey(home=MOVING, step=Step.NEW)
    for event in history:
        journey = world.after(event, journey)
        assert journey.id_scope in {"A", "B"}
        assert (journey.step is Step.STAY) == (journey.home.target is None)
    was_moving = journey.home.target is not None
    old_has_just_worked = journey.step is Step.LAST
    world = World({"A": old, "B": new})
    for _ in range(3 * REFUSALS + 3):
        journey = world.attempt(journey)
    if not was_moving:  # The operator's order was carried out or undone before.
        assert journey.home.target is None
    elif new:
        assert journey.home.id_scope == "B"
    elif old:
        assert (journey.home.id_scope, journey.home.target) == ("A", None)
    else:
        assert (journey.home.target is None) == old_has_just_worked


@given(
    st.lists(st.floats(0.1, 2000), min_size=1, max_size=60), st.lists(st.booleans(), max_size=60)
)
def test_no_outage_and_no_kill_undoes_a_move_to_a_good_place(seconds, kills):
    world = World({"A": True, "B": True}, network=False)
    journey = Journey(home=MOVING, step=Step.NEW)
    for number, pause in enumerate(seconds):
        journey = world.attempt(journey, pause)
        if number < len(kills) and kills[number]:
            journey = restarted(journey)
    world.network = True
    while journey.home.target is not None:
        journey = world.attempt(journey)
    assert journey.home.id_scope == "B"

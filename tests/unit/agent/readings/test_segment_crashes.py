"""Power cuts and failing disks: what was synced is found again, and nothing else is returned.

200 states of the card in `make check`, 2,000 in `make test`, 100,000 in `make fuzz`.
"""

from itertools import count

import pytest
from card import Card
from crash_history import History, ViolationError
from fuzzing import INPUTS, PATIENCE

SHARDS = 4
STEPS = 60


class WithoutSync(Card):
    """The mutant leaves the sync of contents out."""

    def sync(self, _handle):
        self.before("sync")
        self._fail("sync")


class WithoutSyncOfNames(Card):
    """The mutant leaves the sync of the directory out."""

    def sync_names(self):
        self._do("sync_names")


class WithCache(Card):
    """The mutant believes the page cache at the start."""

    def drop_cache(self, _handle):
        pass

    def copy(self):
        card = super().copy()
        card.__class__ = WithCache
        return card


@pytest.mark.fuzz
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("neighbours", [False, True])
def test_a_power_cut_loses_nothing_and_makes_nothing_up(shard, neighbours):
    states = 0
    for seed in count(shard, SHARDS):
        history = History(seed, neighbours=neighbours)
        history.run(STEPS)
        states += len(history.states)
        if states >= INPUTS / SHARDS / 2:
            break
    assert (history.lost > 0) == neighbours


@pytest.mark.parametrize(
    ("card", "seed"), [(WithoutSync, 1), (WithoutSyncOfNames, 1), (WithCache, 0)]
)
def test_a_mutant_is_caught(card, seed):
    history = History(seed, card=card)
    with pytest.raises(ViolationError):
        history.run(STEPS)


def test_histories_drop_readings_and_begin_files():
    histories = [History(seed, variants=0) for seed in range(5)]
    for history in histories:
        history.run(STEPS * 2)
    assert max(history.log.state.dropped for history in histories) > 10
    assert max(max(history.log._sizes) for history in histories) > 10


def test_a_torn_block_does_not_hide_the_synced_version_of_the_next():
    # In this history a slot is used for the next block, and keeps a part of the one before.
    History(315).run(STEPS)

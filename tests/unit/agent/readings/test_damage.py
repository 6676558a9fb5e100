"""Damaged copies of the outbox's files: the start never fails, nothing wrong is sent, and what is
skipped is counted. 1,000 copies in `make test`, 50,000 in `make fuzz`.
"""

import random

import pytest
from crash_history import as_id, everything, given_up
from fuzzing import INPUTS, PATIENCE

from agent.readings.clock import Stamp
from agent.readings.segment_files import OWN_ORDER, Entry, Position, SegmentFiles
from agent.readings.segment_log import BLOCK
from hw import Reading

RUNS = ("00000000000a", "00000000000b", "00000000000c")


class Memory:
    """Files in memory that never fail."""

    def __init__(self, files=None):
        self.files = {name: bytearray(content) for name, content in (files or {}).items()}

    def sizes(self):
        return {name: len(content) for name, content in self.files.items()}

    def create(self, name):
        self.files[name] = bytearray()
        return name

    def open(self, name):
        if name not in self.files:
            raise FileNotFoundError(name)
        return name

    def read(self, name, size, offset):
        return bytes(self.files[name][offset : offset + size])

    def write(self, name, content, offset):
        file = self.files[name]
        file.extend(bytes(max(0, offset + len(content) - len(file))))
        file[offset : offset + len(content)] = content

    def delete(self, name):
        del self.files[name]

    def close(self, _name):
        pass

    sync = drop_cache = close

    def sync_names(self):
        pass


def daemon(disk, run):
    files = SegmentFiles(disk, run=run, boot="boot", board="board", max_bytes=100_000)
    files.load()
    return files


class Original:
    """The files of three runs, in three states; `taken` has every reading that there was."""

    def __init__(self):
        self.taken = {}
        self.states = []
        choice, disk = random.Random(1), Memory()  # noqa: S311 - readings, not secrets.
        uptime = 1000.0
        for run in RUNS:
            files = daemon(disk, run)
            for number in range(1, 151):
                uptime += 1800.0
                reading = Reading(choice.randrange(-400, 800) / 10, choice.randrange(20, 1000) / 10)
                taken = Stamp(1.7e9 + uptime, uptime, "boot", choice.random() < 0.5)
                entry = Entry(Position(OWN_ORDER, run, number), reading, taken)
                self.taken[entry.message_id] = entry
                files.save([entry])
                if number % 7 == 0:
                    files.acknowledge(run, number, number)
            files.drop(run, 20, 29, "age")
            files.save([])
            self.states.append({name: bytes(content) for name, content in disk.files.items()})
        self.waiting = {entry.message_id for entry in everything(daemon(disk, "f" * 12))}


@pytest.fixture(scope="module")
def original():
    return Original()


def flip_bits(files, choice, _older):
    for _ in range(choice.choice((1, 1, 10, 100))):
        file = files[choice.choice(sorted(files))]
        file[choice.randrange(len(file))] ^= 1 << choice.randrange(8)


def clear(files, choice, _older):
    file = files[choice.choice(sorted(files))]
    start = choice.randrange(len(file))
    length = choice.choice((1, 16, 512, BLOCK, 10 * BLOCK))
    file[start : start + length] = bytes(len(file[start : start + length]))


def garble(files, choice, _older):
    file = files[choice.choice(sorted(files))]
    start = BLOCK * choice.randrange(len(file) // BLOCK)
    file[start : start + BLOCK] = choice.randbytes(BLOCK)


def truncate(files, choice, _older):
    file = files[choice.choice(sorted(files))]
    del file[choice.randrange(len(file)) :]


def swap_blocks(files, choice, _older):
    a, b = (files[choice.choice(sorted(files))] for _ in range(2))
    at_a, at_b = (BLOCK * choice.randrange(len(file) // BLOCK) for file in (a, b))
    block_a, block_b = a[at_a : at_a + BLOCK], b[at_b : at_b + BLOCK]
    a[at_a : at_a + BLOCK], b[at_b : at_b + BLOCK] = block_b, block_a


def copy_a_file(files, choice, _older):
    names = sorted(files)
    files[choice.choice([*names, "00009999.log"])] = files[choice.choice(names)][:]


def delete_a_file(files, choice, _older):
    del files[choice.choice(sorted(files))]


def restore_an_older_file(files, choice, older):
    state = choice.choice(older)
    name = choice.choice(sorted(state))
    files[name] = bytearray(state[name])


def restore_an_older_directory(files, choice, older):
    files.clear()
    files |= {name: bytearray(content) for name, content in choice.choice(older).items()}


DAMAGES = (
    flip_bits,
    clear,
    garble,
    truncate,
    swap_blocks,
    copy_a_file,
    delete_a_file,
    restore_an_older_file,
    restore_an_older_directory,
)


@pytest.mark.fuzz
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_used_as_far_as_they_are_whole(original, damage):
    lost_in_all = 0
    for seed in range(INPUTS // len(DAMAGES) // 2):
        choice = random.Random(seed)  # noqa: S311 - damage, not secrets.
        disk = Memory(original.states[-1])
        damage(disk.files, choice, original.states[:-1])
        files = daemon(disk, "f" * 12)
        entries = everything(files)
        for entry in entries:
            taken = original.taken[entry.message_id]
            assert (entry.reading, entry.taken) == (taken.reading, taken.taken), seed
        names = [entry.message_id for entry in entries]
        assert len(names) == len(set(names)) == files.state.count
        lost = original.waiting - set(names)
        # Nothing can prove that readings are missing after the newest one that is left.
        known = files.state.last or ("", 0)
        uncounted = {name for name in lost - given_up(files) if as_id(name) <= known}
        assert not uncounted, (seed, sorted(uncounted)[:5])
        if lost & given_up(files):
            assert files.state.damaged, seed
        lost_in_all += len(lost)
        # The next reading is kept beside the others, under an id that no other has.
        entry = original.taken[f"{RUNS[0]}:1"]
        added = Entry(Position(OWN_ORDER, "f" * 12, 1), entry.reading, entry.taken)
        files.save([added])
        kept = {entry.message_id for entry in everything(daemon(disk, "e" * 12))}
        assert kept == {*names, added.message_id}, seed
    assert lost_in_all or damage in {copy_a_file, restore_an_older_file}

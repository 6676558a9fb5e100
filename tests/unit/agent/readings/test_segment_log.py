from card import Card
from crash_history import load

from agent.readings.segment_log import (
    HEADER,
    Identity,
    ReadingRecord,
    decode_block,
    encode_block,
    encode_record,
    records_of,
    seed_of,
)
from agent.status import DroppedReadings

IDENTITY = Identity(bytes(8), "boot", "a" * 12, 1, None, file=1, after=0)
RECORDS = [ReadingRecord(number, True, 20.0, 50.0, 1e9, 60.0) for number in (1, 2)]


def block(serial):
    records = [encode_record(record, seed_of(IDENTITY, serial)) for record in RECORDS]
    return encode_block(IDENTITY, serial, records, 1, 2)


def records_in(content):
    decoded = decode_block(content)
    assert decoded is not None
    return list(records_of(decoded))


def test_a_block_has_the_records_that_were_written():
    assert records_in(block(1)) == RECORDS


def test_records_of_another_block_in_the_same_place_are_not_accepted():
    torn = block(1)[:HEADER] + block(0)[HEADER:]
    assert records_in(torn) == [None, None]


def test_a_checkpoint_counts_equal_records_one_by_one():
    # Readings that an older image of the card brought back can be given up a second time.
    gap, card = DroppedReadings("a" * 12, 1, 3, "damaged"), Card()
    log = load(card, "b" * 12, None)
    for _ in range(2):
        log.drop(gap.run, gap.first, gap.last, gap.reason)
        log.report([gap])
    log.save([])
    assert load(card, "c" * 12, None).state.reported == [gap, gap]

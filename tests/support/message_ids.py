"""What the ids of messages prove: `<run>:<number>`, with numbers from 1 in each run of a daemon."""

from collections import defaultdict

VARYING = {"previous", "dropped"}  # Properties that a second copy of a message may lack.


def numbers_by_run(message_ids):
    by_run = defaultdict(set)
    for message_id in message_ids:
        run, _, number = message_id.partition(":")
        by_run[run].add(int(number))
    return by_run


def number(message_id):
    return int(message_id.partition(":")[2])


def missing(message_ids):
    """Return the missing ids below the highest of each run."""
    return {
        f"{run}:{number}"
        for run, numbers in numbers_by_run(message_ids).items()
        for number in set(range(1, max(numbers) + 1)) - numbers
    }


def are_whole(message_ids, *, least=1):
    """Return whether at least `least` readings have arrived without a gap.

    A gap may close later, because live readings overtake the backlog.
    """
    return len(set(message_ids)) >= least and not missing(message_ids)


def content(message):
    """Return what is the same in all copies of a message."""
    properties = {name: value for name, value in message.properties.items() if name not in VARYING}
    return message.body, message.created, properties

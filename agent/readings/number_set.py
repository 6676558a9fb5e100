"""A set of numbers that takes no more memory for a million consecutive ones than for one."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from operator import itemgetter

Range = tuple[int, int]
"""The first and the last number, both included."""

_first, _last = itemgetter(0), itemgetter(1)


class NumberSet:
    """A set of integers, stored as sorted ranges that neither overlap nor touch."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._ranges: list[Range] = []
        for first, last in ranges:
            self.add(first, last)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._ranges, number, key=_first)
        return at > 0 and self._ranges[at - 1][1] >= number

    def __iter__(self) -> Iterator[Range]:
        return iter(self._ranges)

    def add(self, first: int, last: int) -> int:
        """Add the numbers `first` to `last`. Return how many of them are new."""
        low = bisect_left(self._ranges, first - 1, key=_last)
        high = bisect_right(self._ranges, last + 1, key=_first)
        known = self._ranges[low:high]
        if known:
            first, last = min(first, known[0][0]), max(last, known[-1][1])
        self._ranges[low:high] = [(first, last)]
        return last - first + 1 - sum(end - start + 1 for start, end in known)

    def remove(self, first: int, last: int) -> int:
        """Remove the numbers `first` to `last`. Return how many of them were there."""
        low = bisect_left(self._ranges, first, key=_last)
        high = bisect_right(self._ranges, last, key=_first)
        known = self._ranges[low:high]
        left = [(start, first - 1) for start, _ in known[:1] if start < first]
        left += [(last + 1, end) for _, end in known[-1:] if end > last]
        self._ranges[low:high] = left
        count = sum(end - start + 1 for start, end in known)
        return count - sum(end - start + 1 for start, end in left)

    def next(self, after: int, limit: int) -> list[int]:
        """Return the first `limit` numbers greater than `after`."""
        ranges = self._ranges[bisect_right(self._ranges, after, key=_last) :]
        numbers = (range(max(first, after + 1), last + 1) for first, last in ranges)
        return list(islice(chain.from_iterable(numbers), limit))

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.readings.number_set import NumberSet

CHANGES = st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(0, 9)))


@given(CHANGES)
def test_it_has_the_numbers_that_a_set_would_have(changes):
    numbers = NumberSet()
    expected: set[int] = set()
    for is_added, first, length in changes:
        change = set(range(first, first + length + 1))
        if is_added:
            assert numbers.add(first, first + length) == len(change - expected)
            expected |= change
        else:
            assert numbers.remove(first, first + length) == len(change & expected)
            expected -= change
        assert len(numbers) == len(expected)
        assert bool(numbers) == bool(expected)
        assert numbers.next(5, 10) == sorted(n for n in expected if n > 5)[:10]
        assert [n for n in range(55) if n in numbers] == sorted(expected)
        assert all(before[1] + 1 < after[0] for before, after in pairwise(numbers))


def test_many_consecutive_numbers_are_one_range():
    assert list(NumberSet((number, number) for number in range(1, 10_001))) == [(1, 10_000)]

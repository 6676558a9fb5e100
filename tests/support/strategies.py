"""Strategies for hypothesis that several tests use."""

from typing import Any

from hypothesis import strategies as st

DEEPEST = 4  # Lists and objects in each other.


def _json_values() -> st.SearchStrategy[Any]:
    # st.recursive makes such values, too, but takes 2.5 times as long for each.
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    values: st.SearchStrategy[Any] = scalars
    for _ in range(DEEPEST):
        values = st.one_of(
            scalars,
            st.lists(values, max_size=4),
            st.dictionaries(st.text(), values, max_size=4),
        )
    return values


json_values = _json_values()

"""Tests that are given a great many inputs.

There are 200 in `make check`, 2,000 in `make test`, and 100,000 in `make fuzz`.
"""

import os

import pytest
from hypothesis import given, settings

INPUTS = int(os.environ.get("FUZZ_INPUTS", "2000"))
PATIENCE = 60 + INPUTS / 10  # Seconds until a test is taken to hang.


def fuzz(*strategies, inputs_each=1, **named_strategies):
    """Do as `given`, with INPUTS inputs; and mark the test for `make fuzz`.

    Each example has `inputs_each` of them.
    """

    def decorate(test):
        examples = settings(max_examples=max(1, INPUTS // inputs_each))
        test = examples(given(*strategies, **named_strategies)(test))
        return pytest.mark.fuzz(pytest.mark.timeout(PATIENCE)(test))

    return decorate

"""The mark of a browser in which a user has signed in before."""

import pytest

from central.console.sign_in import known_browsers

SECRET = "of this central"


def test_a_mark_is_for_one_user_of_one_central():
    mark = known_browsers.new_mark("ann", secret=SECRET)
    assert known_browsers.find(mark, "ANN", secret=SECRET) == mark.partition(".")[0]
    assert known_browsers.find(mark, "otto", secret=SECRET) is None
    assert known_browsers.find(mark, "ann", secret="of another") is None


@pytest.mark.parametrize("mark", ["", ".", "a", "a.b", "é.é", "a\udcff.b", "a.b\udcff"])
def test_what_central_did_not_make_is_no_mark(mark):
    """Bytes of a header that are not UTF-8 arrive as surrogates."""
    assert known_browsers.find(mark, "ann", secret=SECRET) is None

"""A central for each file of tests that needs one."""

import pytest
from centrals import running_central


@pytest.fixture(scope="module")
def central(tmp_path_factory):
    with running_central(tmp_path_factory.mktemp("central")) as central:
        yield central

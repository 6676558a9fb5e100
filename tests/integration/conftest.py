"""A central for each file of tests that needs one, and the ways in which devices reach it."""

import pytest
from centrals import running_central
from ways import PROVISIONING, WAYS


@pytest.fixture(scope="module")
def central(tmp_path_factory):
    with running_central(tmp_path_factory.mktemp("central")) as central:
        yield central


def pytest_addoption(parser):
    parser.addoption(
        "--every-way",
        action="store_true",
        help="run the tests on the wire in each way to a hub, and no others",
    )


def pytest_generate_tests(metafunc):
    """Give a test its argument `way`, unless a mark of the test names its ways."""
    marked = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "way" in metafunc.fixturenames and "way" not in marked:
        ways = WAYS if metafunc.config.getoption("every_way") else [PROVISIONING]
        metafunc.parametrize("way", ways, scope="module")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("every_way"):
        return
    others = [item for item in items if "way" not in item.fixturenames]
    items[:] = [item for item in items if "way" in item.fixturenames]
    config.hook.pytest_deselected(items=others)

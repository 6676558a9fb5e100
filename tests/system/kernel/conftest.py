"""A central for all tests in the virtual machine, and daemons that end with their test."""

import itertools

import machine
import pytest

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def central(tmp_path_factory):
    central = machine.Central(tmp_path_factory.mktemp("central"))
    yield central
    central.stop()


@pytest.fixture(scope="module")
def module_daemon(central, tmp_path_factory):
    """One for a file of tests: starting takes long here."""
    home = tmp_path_factory.mktemp("daemon")
    machine.simulate()  # Otherwise its first readings are what the last file's tests left.
    with machine.Daemon(home, central, device_id=f"pi-{next(numbers)}") as daemon:
        yield daemon.until_connected()


@pytest.fixture
def daemon(module_daemon):
    """The file's daemon, running, with a good sensor, its LED off and at full brightness."""
    machine.simulate()
    if module_daemon.process.poll() is not None:
        module_daemon.start().until_connected()
    module_daemon.ask(command="led", do="brightness", level=1)
    module_daemon.ask(command="led", do="off")
    return module_daemon


@pytest.fixture
def no_daemon(module_daemon):
    """The file's daemon, stopped, so that others may have the board."""
    if module_daemon.process.poll() is None:
        assert module_daemon.stop() == 0
    return module_daemon

import pytest
from impatience import DEADLINES


@pytest.fixture
def impatient(monkeypatch):
    """Shorten the deadlines of connections."""
    for (module, name), seconds in DEADLINES.items():
        monkeypatch.setattr(module, name, seconds)

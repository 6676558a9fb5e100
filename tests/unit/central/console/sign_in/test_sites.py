import pytest

from central.console.sign_in.sites import Site, url_names

SITE = Site("https", url_names(["192.0.2.1", "PI", "pi.local", "fd00::1", "*.example.org"]))


@pytest.mark.parametrize(
    "host",
    ["192.0.2.1", "192.0.2.1:8443", "pi", "Pi.Local:1", "pi.local.", "[fd00::1]:8443",
     "a.example.org"],
)  # fmt: skip
def test_own_names_are_known_with_any_port(host):
    assert SITE.has(host)


@pytest.mark.parametrize(
    "host",
    ["", ":8443", "evil.example", "pi.evil.example", "xpi", "pi@evil.example", "pi:x", "pi:8443:1",
     "192.0.2.2", "fd00::1", "[fd00::1", "[fd00::2]", "example.org", "a.b.example.org",
     "pi local", "pi/", "pi?", "pi#", "localhost", "pi.."],
)  # fmt: skip
def test_other_names_are_foreign(host):
    assert not SITE.has(host)


@pytest.mark.parametrize("origin", ["https://pi:8443", "HTTPS://PI:8443"])
def test_the_own_origin_has_scheme_name_and_port(origin):
    assert SITE.is_origin(origin, "pi:8443")


@pytest.mark.parametrize(
    "origin",
    ["http://pi:8443", "https://pi", "https://pi:8444", "https://evil.example", "null", ""],
)
def test_other_origins_are_foreign(origin):
    assert not SITE.is_origin(origin, "pi:8443")

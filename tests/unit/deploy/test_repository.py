"""The apt repository: what a Pi owner unpacks in /etc/apt, and what is refused."""

import io
import tarfile

import pytest
import repository

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
URL = "https://packages.example.org/pi/"


def unpacked(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {entry.name: tar.extractfile(entry) for entry in tar}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def test_the_bundle_has_the_key_the_source_and_the_pins():
    assert unpacked(repository.bundle(b"the key\n", URL)) == {
        "keyrings/sensor-agent.asc": "the key\n",
        "preferences.d/sensor-agent.pref": (
            'Package: *\nPin: origin "packages.example.org"\nPin-Priority: -1\n\n'
            "Package: sensor-agent sensor-agent-adafruit sensor-agent-central\n"
            'Pin: origin "packages.example.org"\nPin-Priority: 500\n'
        ),
        "sources.list.d/sensor-agent.sources": (
            "Types: deb\nURIs: https://packages.example.org/pi/\nSuites: ./\n"
            "Signed-By: /etc/apt/keyrings/sensor-agent.asc\n"
        ),
    }


def test_the_pins_name_the_host_without_a_port():
    pins = unpacked(repository.bundle(b"", "http://pi.lan:8000/"))[
        "preferences.d/sensor-agent.pref"
    ]
    assert pins.count('Pin: origin "pi.lan"\n') == 2


@pytest.mark.parametrize(
    "url", ["packages.example.org/", "https://packages.example.org", "file:///srv/"]
)
def test_only_the_web_address_of_a_directory_is_taken(tmp_path, url):
    with pytest.raises(ValueError, match=r"is not the address of a directory\. Set URL"):
        repository.write_repository(tmp_path / "made", [], key=FINGERPRINT, url=url, when=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["owner@example.org", FINGERPRINT[-16:]])
def test_a_key_is_named_by_its_whole_fingerprint(tmp_path, key):
    with pytest.raises(ValueError, match="is not the fingerprint of a key"):
        repository.write_repository(tmp_path / "made", [], key=key, url=URL, when=0)
    assert list(tmp_path.iterdir()) == []

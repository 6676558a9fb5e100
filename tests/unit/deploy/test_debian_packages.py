"""What the Debian packages bring, and what their builder makes of names and versions."""

import hashlib
import json
from email.message import Message

import build_debs
import pytest
import vendored
from places import ROOT
from sbom import bill


def test_the_lock_has_the_tested_version_of_each_package():
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in constraints if "==" in line)
    tested = {vendored.normalised(name): version for name, version in tested.items()}
    lock = vendored.locked()
    wanted = {name for package in build_debs.PACKAGES for name in package.vendored}
    assert lock.keys() == wanted | {vendored.BUILD_TOOL}
    assert {name: lock[name].version for name in wanted} == {name: tested[name] for name in wanted}


@pytest.mark.parametrize("package", build_debs.PACKAGES, ids=lambda one: one.name)
def test_every_file_of_a_package_exists(package):
    assert all((ROOT / "deploy" / name).is_file() for name in package.files.values())
    assert (build_debs.HERE / package.name / "control").is_file()


@pytest.mark.parametrize(
    ("ours", "debians"),
    [("1.0", "1.0"), ("1.0rc1", "1.0~rc1"), ("1.0b2", "1.0~b2"), ("1.0.dev3", "1.0~dev3")],
)
def test_a_release_candidate_is_older_than_its_release(ours, debians):
    assert build_debs.debian_version(ours) == debians


def test_the_time_of_the_files_can_be_given(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert build_debs.epoch() == 1700000000


def test_the_bill_of_materials_names_each_package_once_with_its_hash():
    metadata = Message()
    metadata["License"] = "MIT"
    one = vendored.Vendored(vendored.Locked("paho-mqtt", "1.6.1", "ab12"), metadata, {})
    document = json.loads(bill("1.0", {"sensor-agent": [one], "sensor-agent-central": [one]}))
    assert document["metadata"]["component"]["name"] == "sensor-agent"
    central, paho = document["components"]
    assert (central["name"], central["version"]) == ("sensor-agent-central", "1.0")
    assert paho["purl"] == "pkg:pypi/paho-mqtt@1.6.1"
    assert paho["hashes"] == [{"alg": "SHA-256", "content": "ab12"}]
    [hashed] = paho["properties"]  # It is built here, and the hash is that of its source.
    assert hashed == {"name": "sensor-agent:hashed-file", "value": "source distribution"}
    assert [one["dependsOn"] for one in document["dependencies"]] == [[paho["bom-ref"]]] * 2


def test_a_package_that_does_not_say_its_licence_is_not_packed():
    one = vendored.Vendored(vendored.Locked("a", "1", "ab"), Message(), {})
    with pytest.raises(ValueError, match="a does not say its licence"):
        assert one.licence


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of two wheels: one as fetched, one built from source."""
    wheels = {
        "idna-3.20-py3-none-any.whl": b"fetched",
        "paho_mqtt-1.6.1-py3-none-any.whl": b"built",
    }
    hashes = {}
    for name, content in wheels.items():
        (tmp_path / name).write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    lock = tmp_path / "packages.lock"
    fetched, built = hashes.values()
    lock.write_text(
        f"idna==3.20 --hash=sha256:{fetched}\npaho-mqtt==1.6.1 --hash=sha256:{'0' * 64}\n"
    )
    (tmp_path / vendored.BUILT).write_text(f"{built}\n")
    monkeypatch.setattr(vendored, "LOCK", lock)
    return tmp_path


def test_cached_wheels_are_used_if_they_are_as_they_were_fetched_or_built(cache):
    assert vendored._verified(cache) == {"idna": b"fetched", "paho-mqtt": b"built"}


@pytest.mark.parametrize("pattern", ["idna*", "paho*"])
def test_a_cached_wheel_that_has_changed_is_not_packed(cache, pattern):
    [wheel] = cache.glob(pattern)
    wheel.write_bytes(b"changed")
    with pytest.raises(SystemExit, match=f"{wheel.name} has changed since it was fetched"):
        vendored._verified(cache)

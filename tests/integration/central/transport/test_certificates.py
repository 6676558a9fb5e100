import tomllib
from pathlib import Path

import pytest
from daemons import agent


def make_certificate(directory, device_id):
    return agent("central", "--data", directory, "--certificate", device_id)


def test_the_command_makes_a_device_certificate(tmp_path):
    made = make_certificate(tmp_path, "pi-1")
    assert made.returncode == 0, made.stderr
    keys = tomllib.loads(made.stdout)
    assert "BEGIN CERTIFICATE" in Path(keys["x509_cert_file"]).read_text()
    assert Path(keys["x509_key_file"]).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("device_id", "said"),
    [
        ("", "cannot be a device id"),
        ("../x", "cannot be a device id"),
        ("x" * 65, "cannot be the name in a certificate: it has more than 64 characters"),
        ("a b", "cannot be a device id"),
    ],
)
def test_a_name_that_is_invalid_in_a_certificate_is_refused(tmp_path, device_id, said):
    refused = make_certificate(tmp_path, device_id)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert not (tmp_path / "devices").exists()

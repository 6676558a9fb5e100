"""The ways in which a device reaches a central, and the tests that run in each of them.

A test on the wire has an argument `way`, or a fixture that has it. It runs with the provisioning
service, and with `--every-way` once in each way. The marks below name the ways of one test.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from central.errors import UnknownDevice
from central.storage import devices
from central.transport.certificates import issue_device_certificate

PROVISIONING, CONNECTION_STRING, CERTIFICATE = "provisioning", "connection-string", "x509"
WAYS = (PROVISIONING, CONNECTION_STRING, CERTIFICATE)


def in_ways(*ways):
    """Run a test in these ways, with and without `--every-way`."""
    return pytest.mark.parametrize("way", ways, scope="module")


every_way = in_ways(*WAYS)
with_provisioning = in_ways(PROVISIONING)
without_provisioning = in_ways(CONNECTION_STRING, CERTIFICATE)


def cloud_keys(central, way, home, *, device_id="pi-1"):
    """Make the files of a way in, and return its keys of [cloud]. The hub knows the device then."""
    info = central.info
    if way == PROVISIONING:
        return {
            "id_scope": info["id_scope"],
            "provisioning_host": info["mqtt_host"],
            "group_key_file": info["group_key_file"],
        }
    _add_device(central, device_id)
    parts = f"HostName={info['mqtt_host']};DeviceId={device_id}"
    string = home / "connection-string"
    keys = {"connection_string_file": str(string)}
    if way == CERTIFICATE:
        directory = Path(info["ca_file"]).parent
        certificate, key = issue_device_certificate(directory, device_id, datetime.now(UTC))
        keys |= {"x509_cert_file": str(certificate), "x509_key_file": str(key)}
        parts += ";x509=true"
    else:
        assert way == CONNECTION_STRING, way
        parts += f";SharedAccessKey={central.key(device_id)}"
    home.mkdir(parents=True, exist_ok=True)
    string.touch(mode=0o600)
    string.write_text(f"{parts}\n")
    return keys


def _add_device(central, device_id):
    try:
        central.read(devices.get, device_id)
    except UnknownDevice:
        central.call(lambda central: central.registry.add_device(device_id))

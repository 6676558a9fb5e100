"""Several ID scopes: one provisioning service, and a hub for each of them."""

import socket
import ssl

import pytest
from centrals import running_central
from mqtt_client import MqttClient, Registering, sas_token
from optional import several_loopbacks

from central.application import Settings
from central.errors import PortTaken, StartError
from central.server import hub_names
from central.storage import devices
from central.transport.listener import listen_beside

pytestmark = several_loopbacks


@pytest.fixture
def central(tmp_path):
    with running_central(tmp_path / "central", id_scopes=3) as central:
        yield central


def assigned(central, scope, **options):
    with Registering(central, "pi-1", scope=scope, **options) as client:
        return client.register()["registrationState"]["assignedHub"]


def sign_in(central, hub):
    """Connect to the hub of this name with a token for it. Returns CONNACK's code."""
    resource = f"{hub}/devices/pi-1"
    with MqttClient(central) as client:
        token = sas_token(resource, central.key("pi-1"), ttl=3600)
        return client.connect("pi-1", f"{hub}/pi-1/?api-version=2020-09-30", token)[1]


def test_each_id_scope_assigns_a_hub_of_its_own(central):
    scopes = central.info["id_scopes"]
    assert len(set(scopes.values())) == 3
    assert next(iter(scopes)) == central.info["id_scope"]
    for scope, hub in scopes.items():
        assert assigned(central, scope) == hub
        assert central.read(devices.get, "pi-1").id_scope == scope
        context = ssl.create_default_context(cadata=central.ca)
        with socket.create_connection((hub, central.info["mqtt_port"]), timeout=10) as plain:
            context.wrap_socket(plain, server_hostname=hub).close()


def test_each_hub_has_a_name_of_azure_for_clients_that_know_only_those(central):
    names = [
        assigned(central, scope, server_name="global.azure-devices-provisioning.net")
        for scope in central.info["id_scopes"]
    ]
    assert names == [
        "central.azure-devices.net",
        "central-2.azure-devices.net",
        "central-3.azure-devices.net",
    ]


def test_an_id_scope_refuses_at_registration_and_at_its_hub(central):
    first, second, third = central.info["id_scopes"]
    hubs = central.info["id_scopes"]
    assigned(central, second)

    def refuse(running):
        running.faults.refused_scopes = frozenset({second})

    central.call(refuse)
    with Registering(central, "pi-1", scope=second) as client:
        assert client.put()[0] == 401
    assert [sign_in(central, hubs[scope]) for scope in (first, second, third)] == [0, 5, 0]
    assert sign_in(central, "central-2.azure-devices.net") == 5


def test_id_scopes_stay_when_fewer_are_asked_for(tmp_path):
    with running_central(tmp_path / "central", id_scopes=2) as central:
        before = list(central.info["id_scopes"])
    with running_central(tmp_path / "central") as central:
        assert list(central.info["id_scopes"]) == before
    with running_central(tmp_path / "central", id_scopes=3) as central:
        assert list(central.info["id_scopes"])[:2] == before


def test_a_central_with_one_id_scope_is_as_before(tmp_path):
    with running_central(tmp_path / "central") as central:
        assert central.info["id_scopes"] == {central.info["id_scope"]: central.info["mqtt_host"]}
        assert Settings(tmp_path).id_scopes == 1


def test_on_a_network_the_hubs_have_further_names_of_this_machine():
    names = ["192.0.2.1", "2001:db8::1"]
    found = hub_names("0.0.0.0", names, [], 3)  # noqa: S104 - compared, not bound
    assert len(set(found)) == 3
    assert "2001:db8::1" in found
    assert "192.0.2.1" not in found
    with pytest.raises(StartError, match="Choose fewer with --id-scopes"):
        hub_names("192.0.2.1", ["192.0.2.1"], [], 8)


def test_too_few_loopback_addresses_are_an_error():
    with pytest.raises(PortTaken, match="--id-scopes"):
        listen_beside("127.0.0.250", 8883, 250)
    assert listen_beside("192.0.2.1", 8883, 1) == []

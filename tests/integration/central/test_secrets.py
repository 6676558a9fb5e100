"""No key and no token appears in a log."""

import logging
import re
from typing import Any

from centrals import running_central
from mqtt_client import MqttClient, Registering

from central.protocol import sas
from central.storage import history


def test_keys_and_tokens_are_not_logged(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    wrong = sas.new_key()
    with running_central(tmp_path) as central:
        with Registering(central, "pi-1") as client:
            client.register()
        with Registering(central, "pi-1", key=wrong) as client:
            assert client.put()[0] == 401
        wrong_options: list[dict[str, Any]] = [{}, {"key": wrong}, {"ttl": -5}]
        for options in wrong_options:
            with MqttClient(central) as client:
                client.connect_as(central, "pi-1", **options)
        with MqttClient(central) as client:
            assert client.connect("pi-1", f"a.hub/{wrong}/", "SharedAccessSignature sig=x")[1] == 2
        group = (tmp_path / "group-key").read_text().strip()
        keys = [group, central.key("pi-1"), *central.call(lambda c: c.registry.keys("pi-1"))]
        lines = central.call(
            lambda c: [each.detail for each in c.store.read(history.connections, "pi-1")]
        )
    said = caplog.text + "".join(lines)
    assert "the key is wrong" in said
    assert not [key for key in keys if key in said]
    assert "sig=" not in said


def test_line_breaks_in_a_name_do_not_make_lines_in_the_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with running_central(tmp_path) as central:
        for username in ("hub/pi\nforged: yes/", f"{central.info['id_scope']}/registrations/pi\nf"):
            with MqttClient(central) as client:
                assert client.connect(username.split("/")[-2], username, "x")[1] == 2
    assert not re.search(r"^(forged|f)\b", caplog.text, re.MULTILINE)

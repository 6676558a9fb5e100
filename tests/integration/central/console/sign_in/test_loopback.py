"""On loopback there are no users, but device keys need the token in central's directory."""

from dataclasses import replace

import aiohttp
import pytest
from addresses import own_address
from consoles import ask, refused
from signed_in import console_token, new_token, origin

from central.application import Settings
from central.console.run import open_central
from central.console.sign_in import tokens
from central.errors import UnknownAddress
from central.records import Role

KEYS = "/api/devices/pi-1/credentials"


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "central", listen=own_address(), http_port=0)


@pytest.fixture
async def http(central):
    async with aiohttp.ClientSession(central.http) as session:
        yield session


async def test_everyone_on_this_machine_may_use_the_console(http, central):
    assert central.http.startswith("http://127.0.0.1:")
    await ask(http, "PUT", "/api/devices/pi-2", {})
    await ask(http, "GET", "/api/devices", headers={"Authorization": "Bearer anything"})
    found = await ask(http, "GET", "/console/api/session")
    assert (found["required"], found["user"], found["authority"]) == (False, None, None)
    assert found["tokenFile"] == str(central.console_token_file)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer x", "SharedAccessSignature sr=a&sig=b&skn=console-token&se=1"]
)
async def test_keys_need_the_token(http, central, header):
    headers = {} if header is None else {"Authorization": header}
    error = await refused(http, "GET", KEYS, headers=headers, expect=401)
    assert error["code"] == "TokenRequired"
    assert str(central.console_token_file) in error["message"]
    keys = central.registry.keys("pi-1")
    assert not [key for key in keys if key in error["message"]]


async def test_who_can_read_the_token_can_read_keys(http, central):
    found = await ask(http, "GET", KEYS, headers=console_token(central))
    assert found["symmetricKey"]["primaryKey"] == central.registry.keys("pi-1")[0]


@pytest.mark.parametrize(("role", "status"), [(Role.OPERATOR, 401), (Role.ADMINISTRATOR, 200)])
async def test_an_administrators_api_token_can_read_keys(http, central, role, status):
    header = {"Authorization": new_token(central, "ci", role, expires=4e9)}
    await ask(http, "GET", KEYS, headers=header, expect=status)


async def test_the_token_stays_until_others_could_read_it(settings, caplog):
    path = settings.data_dir / "console-token"
    texts = []
    for mode in (0o600, 0o644, 0o600):
        async with open_central(settings):
            texts.append(path.read_text())
            assert path.stat().st_mode & 0o777 == 0o600
            assert tokens.parse(texts[-1]) is not None
        path.chmod(mode)
    assert texts[0] == texts[1]
    assert texts[1] != texts[2]
    assert "readable by other users" in caplog.text


@pytest.mark.parametrize("content", ["", "damaged", "\x00\xff"])
async def test_a_damaged_token_is_replaced(settings, content):
    async with open_central(settings):
        pass
    (settings.data_dir / "console-token").write_text(content)
    async with open_central(settings) as central:
        assert tokens.parse(central.console_token_file.read_text()) is not None


async def test_nobody_signs_in(http, central):
    body = {"user": "ann", "password": "x"}
    await refused(http, "POST", "/console/api/session", body, headers=origin(central), expect=404)
    await refused(http, "GET", "/console-ca.pem", expect=404)


async def test_another_loopback_address_has_no_users_either(settings):
    own = own_address()
    async with open_central(replace(settings, console_listen=own)) as central:
        assert central.http.startswith(f"http://{own}:")
        async with aiohttp.ClientSession(central.http) as http:
            await ask(http, "GET", "/api/devices")


async def test_an_address_of_another_machine_is_an_error(settings):
    with pytest.raises(UnknownAddress):
        async with open_central(replace(settings, console_listen="192.0.2.77")):
            pass


async def test_pages_of_another_port_read_nothing(http):
    headers = {"Sec-Fetch-Site": "same-site"}
    await refused(http, "GET", "/api/devices", headers=headers, expect=403)

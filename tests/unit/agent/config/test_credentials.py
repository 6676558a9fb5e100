import base64
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fuzzing import fuzz
from hypothesis import strategies as st

from agent.config.credentials import (
    check_again,
    derive_device_key,
    read_credentials,
    sign_in,
)
from agent.config.loader import CloudConfig, Config, DeviceConfig, load
from agent.config.pasted import PasteError, check_key, parse_connection_string, unquoted
from agent.errors import SecretError

KEY = base64.b64encode(b"k" * 32).decode()
CONNECTION = f"HostName=hub.azure-devices.net;DeviceId=pi-1;SharedAccessKey={KEY}"
POLICY = f"HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}"


@pytest.fixture
def read(tmp_path):
    def read(lines, environ=None):
        path = tmp_path / "config.toml"
        path.write_text(f'[device]\nid = "pi-1"\n[cloud]\nid_scope = "0ne00000000"\n{lines}\n')
        cloud = load(path).cloud
        assert cloud is not None
        return read_credentials(cloud, device_id="pi-1", base=tmp_path, environ=environ or {})

    return read


def secret(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_device_key_is_used_unchanged(read, tmp_path):
    secret(tmp_path / "key", KEY + "\n")
    assert read('key_file = "key"').key == KEY


@pytest.mark.parametrize(
    "raw",
    [
        KEY.encode(),
        f"{KEY}\r\n".encode(),
        b"\xef\xbb\xbf" + KEY.encode(),
        KEY.encode("utf-16"),
        KEY.encode("utf-16-le"),
        KEY.encode("utf-16-be"),
        b"\xfe\xff" + f"{KEY}\r\n".encode("utf-16-be"),
        f'"{KEY}"\n'.encode(),
        f"'{KEY}'".encode(),
        f"\u201c{KEY}\u201d".encode(),
        f"  {KEY}\t\n\n".encode(),
    ],
)
@pytest.mark.parametrize("lines", ['key_file = "key"', 'group_key_file = "key"'])
def test_a_key_is_read_however_an_editor_saved_it(read, tmp_path, raw, lines):
    secret(tmp_path / "key", "").write_bytes(raw)
    expected = KEY if lines.startswith("key") else derive_device_key(KEY, "pi-1")
    assert read(lines).key == expected


def test_a_connection_string_in_a_group_key_file_is_named(read, tmp_path):
    secret(tmp_path / "group", CONNECTION)
    with pytest.raises(SecretError) as caught:
        read('group_key_file = "group"')
    assert str(caught.value) == (
        f"{tmp_path}/group holds a connection string, not the key of an enrolment group. For a "
        "device of IoT Hub without the provisioning service, set connection_string_file in place "
        "of id_scope and group_key_file."
    )


def test_a_group_key_is_turned_into_the_devices_key(read, tmp_path):
    secret(tmp_path / "group", KEY)
    assert read('group_key_file = "group"').key == derive_device_key(KEY, "pi-1")
    # The example of Microsoft's page on symmetric key attestation.
    master = (
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
    )
    assert (
        derive_device_key(master, "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6")
        == "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
def test_a_key_that_others_can_read_is_refused_with_the_command(read, tmp_path, mode):
    path = secret(tmp_path / "key", KEY, mode)
    with pytest.raises(SecretError, match=f"chmod 600 {path}"):
        read('key_file = "key"')


def test_the_mode_of_a_key_from_systemd_is_not_checked(read, tmp_path):
    guarded = tmp_path / "credentials"
    guarded.mkdir()
    secret(guarded / "key", KEY, 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(guarded)}
    assert read('key_file = "key"', environ).key == KEY
    assert read(f'key_file = "{guarded}/key"', environ).key == KEY


def test_a_key_that_systemd_lacks_is_read_beside_the_configuration(read, tmp_path):
    (tmp_path / "credentials").mkdir()
    secret(tmp_path / "key", KEY)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert read('key_file = "key"', environ).key == KEY


def test_the_service_reports_how_systemd_passes_it_a_missing_file(read, tmp_path):
    given, stored = tmp_path / "given", tmp_path / "credentials"
    given.mkdir()
    stored.mkdir()
    secret(stored / "group", KEY)  # The service's user cannot search that directory.
    with pytest.raises(SecretError) as caught:
        read('group_key_file = "group"', {"CREDENTIALS_DIRECTORY": str(given)})
    assert str(caught.value) == (
        f"{tmp_path}/group does not exist. Put it in /etc/sensor-agent/credentials, set "
        'group_key_file = "group" in [cloud], and add '
        "LoadCredential=group:/etc/sensor-agent/credentials/group to [Service] with: "
        "sudo systemctl edit sensor-agent"
    )


def test_an_empty_key_from_systemd_is_reported_with_the_file_to_write(read, tmp_path):
    (tmp_path / "given").mkdir()
    secret(tmp_path / "given" / "device.key", "\n", 0o440)
    with pytest.raises(SecretError, match=r"to /etc/sensor-agent/credentials/device\.key"):
        read('key_file = "device.key"', {"CREDENTIALS_DIRECTORY": str(tmp_path / "given")})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ('""', "is empty, except for quotes"),
        ("not base64!", "holds a character that no key has, at position 4"),
        ("====", "its 4 characters are not complete base64"),
        ("abc", "its 3 characters are not complete base64"),
        ("å", "holds a character that no key has, at position 1"),
        (f"{KEY}\n{KEY}", "holds 2 lines; a key is one line"),
        (KEY[:-1], "its 43 characters are not complete base64"),
        (KEY + KEY, "its 88 characters are not complete base64"),
        ("-----BEGIN PRIVATE KEY-----\nx", "a private key in PEM, not a key in base64"),
        ("SharedAccessSignature sr=a&sig=b&se=1", "a token"),
        (CONNECTION, 'a connection string, not a key. Set connection_string_file = "key" in place'),
        (POLICY, "a connection string, not a key"),
    ],
)
def test_a_file_without_a_key_is_refused_and_not_shown(read, tmp_path, text, sentence):
    secret(tmp_path / "key", text)
    with pytest.raises(SecretError, match=sentence) as caught:
        read('key_file = "key"')
    assert not text or text not in str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("lines", "key", "contents"),
    [
        ('key_file = "k"', "key_file", "this device's key, as its page in the portal"),
        ('group_key_file = "k"', "group_key_file", "the key of the enrolment group"),
    ],
)
def test_a_missing_file_is_reported_with_what_belongs_there(read, tmp_path, lines, key, contents):
    with pytest.raises(SecretError) as caught:
        read(lines)
    assert str(caught.value).startswith(f"{tmp_path}/k does not exist. Write {contents}")
    assert str(caught.value).endswith(f"or correct {key} in [cloud].")


def test_the_home_of_an_unknown_user_is_a_name_like_any_other(read, tmp_path):
    with pytest.raises(SecretError, match=r"~nosuchuser/k does not exist\."):
        read('key_file = "~nosuchuser/k"')


def test_every_bad_file_is_reported_at_once(read, tmp_path):
    secret(tmp_path / "password", "pass word", 0o644)
    lines = (
        'key_file = "key"\nproxy = "http://proxy:8080"\nproxy_user = "me"\n'
        'proxy_password_file = "password"\nca_file = "ca.pem"'
    )
    with pytest.raises(SecretError) as caught:
        read(lines)
    missing, open_to_all, no_ca = caught.value.mistakes
    assert missing.startswith(f"{tmp_path}/key does not exist.")
    assert open_to_all.startswith(f"{tmp_path}/password can be read by others")
    assert no_ca.startswith(f"{tmp_path}/ca.pem does not exist.")


def test_a_key_is_found_where_the_installer_keeps_it(read, tmp_path):
    stored = tmp_path / "credentials"
    stored.mkdir()
    secret(stored / "key", KEY)
    assert read('key_file = "key"').key == KEY
    (stored / "key").chmod(0o640)
    with pytest.raises(SecretError, match="chmod 600"):
        read('key_file = "key"')


@pytest.mark.parametrize(("also", "cause"), [("", PermissionError), ('ca_file = "ca"', OSError)])
def test_a_file_without_read_permission_is_distinguished_from_a_mistake(
    read, tmp_path, monkeypatch, also, cause
):
    def may_not(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "key").touch()
    read_bytes = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: (may_not if path.name == "key" else read_bytes)(path)
    )
    with pytest.raises(SecretError, match=r"Permission denied\. Use sudo") as caught:
        read(f'key_file = "key"\n{also}')
    assert isinstance(caught.value.__cause__, cause)
    assert isinstance(caught.value.__cause__, PermissionError) is (not also)


def test_a_binary_file_is_refused(read, tmp_path):
    (tmp_path / "key").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(SecretError, match="not a text file"):
        read('key_file = "key"')


def test_a_ca_file_is_read_and_must_contain_certificates(read, tmp_path):
    secret(tmp_path / "key", KEY)
    ca = trustme.CA().cert_pem.bytes().decode()
    (tmp_path / "ca.pem").write_text(ca)
    assert read('key_file = "key"\nca_file = "ca.pem"').ca == ca
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(SecretError, match="does not hold certificates"):
        read('key_file = "key"\nca_file = "ca.pem"')


@pytest.fixture
def connect(tmp_path):
    """Sign in with a connection string, or with the bytes of its file."""

    def connect(text, lines="", device=""):
        raw = text if isinstance(text, bytes) else text.encode()
        secret(tmp_path / "connection", "").write_bytes(raw)
        path = tmp_path / "config.toml"
        path.write_text(
            f'[device]\n{device}\n[cloud]\nconnection_string_file = "connection"\n{lines}\n'
        )
        return sign_in(load(path), base=tmp_path, environ={})

    return connect


@pytest.mark.parametrize(
    "text",
    [
        CONNECTION,
        f"{CONNECTION};\r\n",
        f'"{CONNECTION}"',
        b"\xef\xbb\xbf" + CONNECTION.encode(),
        CONNECTION.encode("utf-16"),
        f"SHAREDACCESSKEY={KEY} ; deviceid = pi-1 ;hostname=hub.azure-devices.net",
        f'{{\n  "connectionString": "{CONNECTION}"\n}}\n',
        f"{CONNECTION};x509=false",
    ],
)
@pytest.mark.parametrize("device", ["", 'id = "pi-1"'])
def test_a_connection_string_gives_hub_device_id_and_key(connect, text, device):
    config, credentials = connect(text, device=device)
    assert (config.cloud.hub, config.device.id) == ("hub.azure-devices.net", "pi-1")
    assert credentials.key == KEY
    assert KEY not in repr((config, credentials))


def test_a_configuration_that_is_signed_in_can_be_signed_in_again(connect, tmp_path):
    config, credentials = connect(CONNECTION)
    assert sign_in(config, base=tmp_path, environ={}) == (config, credentials)


HUB = "HostName=h.net"
DEVICE = "DeviceId=pi-1"
SECRET = f"SharedAccessKey={KEY}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty. Write this device's connection string, which begins with HostName=, to"),
        ("hello", "does not hold a connection string, which begins with HostName="),
        (KEY, "holds a key only, not a connection string. Set hub and key_file in place"),
        (POLICY, 'of the policy "iothubowner", which is for services. A device needs its own: az'),
        (f"Endpoint=sb://x/;{SECRET}", "of an Event Hubs endpoint"),
        (f"{HUB};{DEVICE};SharedAccessSignature=sig", "a token"),
        (f"{HUB};{DEVICE};ModuleId=m;{SECRET}", "of a module"),
        (f"{HUB};{DEVICE};GatewayHostName=g;{SECRET}", "GatewayHostName. Connecting through"),
        (f"{HUB};{DEVICE};Colour=red;{SECRET}", "with the unknown part Colour."),
        (f"{HUB};{DEVICE};{KEY}", r"with the unknown part \.\.\."),
        (f"{HUB};{DEVICE};{DEVICE};{SECRET}", "has DeviceId twice"),
        (f"{HUB};{SECRET}", "without DeviceId"),
        (f"HostName=;{SECRET}", "without HostName and DeviceId"),
        (f"{HUB};{DEVICE}", "without SharedAccessKey"),
        (f"{HUB};{DEVICE};x509=true;{SECRET}", "x509=true and SharedAccessKey"),
        (f"{HUB};{DEVICE};x509=yes", 'x509="yes", not true or false'),
        (f"{HUB};{DEVICE};{SECRET[:-1]}", "whose SharedAccessKey holds a part of a key"),
        (f"HostName=https://h.net;{DEVICE};{SECRET}", 'HostName="https://h.net", which is not a'),
        (f"HostName=h h;{DEVICE};{SECRET}", 'HostName="h h", which is not a host name'),
        (f"{HUB};DeviceId=a/b;{SECRET}", 'DeviceId="a/b", which is not an id'),
        (f"{HUB};{DEVICE};\n{SECRET}", "holds several lines"),
        (f"{HUB};{DEVICE};x509=true", "has x509=true. Set x509_cert_file and x509_key_file"),
    ],
)
def test_a_connection_string_that_cannot_be_used_is_refused_and_not_shown(connect, text, sentence):
    with pytest.raises(SecretError, match=sentence) as caught:
        connect(text)
    [said] = caught.value.mistakes
    assert KEY[:-1] not in said


def shuffled_strings():
    """Return parts of a connection string in any order, with anything between them."""
    part = st.sampled_from(["HostName=h", DEVICE, SECRET, KEY, POLICY, "x509=true", ";", "=", " "])
    anything = st.text(st.characters(codec="utf-8"), max_size=5)
    return st.lists(part | anything, max_size=8).map("".join)


@fuzz(text=shuffled_strings())
def test_no_text_shows_its_key(text):
    shown = ""
    for use in (parse_connection_string, check_key):
        try:
            shown += repr(use(unquoted(text)))
        except PasteError as error:
            shown += str(error)
    assert KEY[:-1] not in shown


def test_a_connection_string_of_another_device_is_refused(connect, tmp_path):
    with pytest.raises(SecretError) as caught:
        connect(CONNECTION, device='id = "pi-2"')
    assert str(caught.value) == (
        f'{tmp_path}/connection is the connection string of "pi-1", but [device] id is "pi-2". '
        "Remove [device] id, or copy the string of that device."
    )


def test_a_connection_string_is_guarded_like_a_key(connect, tmp_path):
    connect(CONNECTION)
    (tmp_path / "connection").chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        sign_in(load(tmp_path / "config.toml"), base=tmp_path, environ={})


CERTIFICATE = 'x509_cert_file = "cert.pem"\nx509_key_file = "key.pem"'


@pytest.fixture
def certificate(tmp_path):
    issued = trustme.CA().issue_cert("pi-1")
    (tmp_path / "cert.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    secret(tmp_path / "key.pem", issued.private_key_pem.bytes().decode())
    return issued


def test_a_certificate_needs_a_closed_key(read, tmp_path, certificate):
    assert read(CERTIFICATE).x509_key_file == tmp_path / "key.pem"
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(SecretError, match="can be read by others"):
        read(CERTIFICATE)


def test_a_connection_string_with_x509_takes_the_certificate(connect, certificate, tmp_path):
    config, credentials = connect(f"{HUB};{DEVICE};x509=True", CERTIFICATE)
    assert (config.cloud.hub, config.device.id) == ("h.net", "pi-1")
    assert (credentials.key, credentials.x509_cert_file) == (None, tmp_path / "cert.pem")


def test_a_connection_string_with_a_key_takes_no_certificate(connect, certificate):
    with pytest.raises(SecretError, match=r"has a SharedAccessKey, and .* has x509_cert_file"):
        connect(CONNECTION, CERTIFICATE)


@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_certificate_that_openssl_cannot_read_is_refused_by_name(
    read, tmp_path, certificate, name, encoding
):
    (tmp_path / name).write_bytes((tmp_path / name).read_text().encode(encoding))
    with pytest.raises(SecretError) as caught:
        read(CERTIFICATE)
    [sentence] = caught.value.mistakes
    assert sentence.startswith(f"{tmp_path}/{name} begins with a byte order mark")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_authorities_are_read_however_an_editor_saved_them(read, tmp_path, encoding):
    secret(tmp_path / "key", KEY)
    ca = trustme.CA().cert_pem.bytes().decode()
    (tmp_path / "ca.pem").write_bytes(ca.encode(encoding))
    assert read('key_file = "key"\nca_file = "ca.pem"').ca == ca


def encrypted():
    key = ec.generate_private_key(ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(b"passphrase")
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked
    ).decode()


@pytest.mark.parametrize(
    "key",
    [
        lambda: trustme.CA().issue_cert("pi-2").private_key_pem.bytes().decode(),
        lambda: "private",
        encrypted,
    ],
    ids=["another's", "no key", "encrypted"],
)
def test_a_key_that_cannot_be_used_with_the_certificate_is_refused(
    read, tmp_path, certificate, key
):
    secret(tmp_path / "key.pem", key())
    with pytest.raises(SecretError, match="is not the private key of"):
        read(CERTIFICATE)


def test_a_file_without_a_certificate_is_refused(read, tmp_path, certificate):
    (tmp_path / "cert.pem").write_text("certificate")
    with pytest.raises(SecretError, match="does not hold certificates"):
        read(CERTIFICATE)


def test_a_proxy_password_is_read(read, tmp_path):
    secret(tmp_path / "key", KEY)
    secret(tmp_path / "password", "pass word\n")
    lines = (
        'key_file = "key"\nproxy = "http://proxy:8080"\nproxy_user = "me"\n'
        'proxy_password_file = "password"'
    )
    assert read(lines).proxy_password == "pass word"


def test_repr_shows_no_secret(read, tmp_path):
    secret(tmp_path / "key", KEY)
    assert KEY not in repr(read('key_file = "key"'))


def running_with(*, key_file):
    cloud = CloudConfig(id_scope="0ne00000000", key_file=Path(key_file))
    return Config(device=DeviceConfig(id="pi-1"), cloud=cloud)


def test_a_file_that_the_running_daemon_does_not_name_is_checked_outside_the_service(tmp_path):
    running, changed = running_with(key_file="old.key"), running_with(key_file="new.key")
    with pytest.raises(SecretError, match=r"new\.key does not exist"):
        check_again(changed, running=running, base=tmp_path, environ={})


def test_in_the_service_a_new_name_of_a_file_waits_for_the_restart(tmp_path):
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    running, changed = running_with(key_file="old.key"), running_with(key_file="new.key")
    check_again(changed, running=running, base=tmp_path, environ=environ)
    with pytest.raises(SecretError, match=r"old\.key does not exist"):
        check_again(running, running=running, base=tmp_path, environ=environ)

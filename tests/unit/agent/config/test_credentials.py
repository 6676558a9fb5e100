import base64

import pytest
import trustme

from agent.config.credentials import derive_device_key, read_credentials
from agent.config.loader import load
from agent.errors import SecretError

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def read(tmp_path):
    def read(lines, environ=None):
        path = tmp_path / "config.toml"
        path.write_text(f'[device]\nid = "pi-1"\n[cloud]\nid_scope = "0ne00000000"\n{lines}\n')
        return read_credentials(
            load(path).cloud, device_id="pi-1", base=tmp_path, environ=environ or {}
        )

    return read


def secret(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_device_key_is_taken_as_it_is(read, tmp_path):
    secret(tmp_path / "key", KEY + "\n")
    assert read('key_file = "key"').key == KEY


def test_a_group_key_becomes_this_devices_own(read, tmp_path):
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
def test_a_key_that_others_can_read_is_refused_with_the_cure(read, tmp_path, mode):
    path = secret(tmp_path / "key", KEY, mode)
    with pytest.raises(SecretError, match=f"chmod 600 {path}"):
        read('key_file = "key"')


def test_systemd_guards_its_own(read, tmp_path):
    guarded = tmp_path / "credentials"
    guarded.mkdir()
    secret(guarded / "key", KEY, 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(guarded)}
    assert read('key_file = "key"', environ).key == KEY
    assert read(f'key_file = "{guarded}/key"', environ).key == KEY


def test_what_systemd_does_not_have_is_looked_up_beside_the_configuration(read, tmp_path):
    (tmp_path / "credentials").mkdir()
    secret(tmp_path / "key", KEY)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert read('key_file = "key"', environ).key == KEY


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("not base64!", "does not hold a key"),
        ("====", "does not hold a key"),
        ("abc", "does not hold a key"),
        ("å", "does not hold a key"),
    ],
)
def test_a_file_that_holds_no_key_is_said_and_not_repeated(read, tmp_path, text, sentence):
    secret(tmp_path / "key", text)
    with pytest.raises(SecretError, match=sentence) as caught:
        read('key_file = "key"')
    assert not text or text not in str(caught.value).replace(str(tmp_path), "")


def test_a_missing_file_is_said(read, tmp_path):
    with pytest.raises(SecretError, match=f"{tmp_path}/key cannot be read: No such file"):
        read('key_file = "key"')


def test_a_file_that_is_no_text_is_said(read, tmp_path):
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError, match="not a text file"):
        read('key_file = "key"')


def test_a_ca_is_read_and_must_be_one(read, tmp_path):
    secret(tmp_path / "key", KEY)
    ca = trustme.CA().cert_pem.bytes().decode()
    (tmp_path / "ca.pem").write_text(ca)
    assert read('key_file = "key"\nca_file = "ca.pem"').ca == ca
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(SecretError, match="does not hold certificates"):
        read('key_file = "key"\nca_file = "ca.pem"')


def test_a_certificate_needs_a_closed_key(read, tmp_path):
    (tmp_path / "cert.pem").write_text("certificate")
    secret(tmp_path / "key.pem", "private")
    lines = 'x509_cert_file = "cert.pem"\nx509_key_file = "key.pem"'
    assert read(lines).x509_key_file == tmp_path / "key.pem"
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(SecretError, match="can be read by others"):
        read(lines)


def test_a_proxy_password_is_read(read, tmp_path):
    secret(tmp_path / "key", KEY)
    secret(tmp_path / "password", "pass word\n")
    lines = (
        'key_file = "key"\nproxy = "http://proxy:8080"\nproxy_user = "me"\n'
        'proxy_password_file = "password"'
    )
    assert read(lines).proxy_password == "pass word"


def test_secrets_show_in_no_representation(read, tmp_path):
    secret(tmp_path / "key", KEY)
    assert KEY not in repr(read('key_file = "key"'))

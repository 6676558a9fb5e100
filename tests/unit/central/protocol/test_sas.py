import base64

import pytest
from fuzzing import fuzz
from hypothesis import strategies as st
from mqtt_client import sas_token

from central.errors import InvalidKey
from central.protocol import sas

KEY = base64.b64encode(b"0123456789abcdef").decode()
OTHER = base64.b64encode(b"fedcba9876543210").decode()
NOW = 1_800_000_000


def check(token, *, path="/devices/pi-1", keys=(KEY,), now=NOW):
    return sas.check_token(token.encode(), path=path, keys=keys, now=now)


def token(resource="a.hub/devices/pi-1", key=KEY, **options):
    return sas_token(resource, key, now=NOW, **options)


def test_a_device_key_is_derived_as_in_microsofts_example():
    # The example of the page on symmetric key attestation.
    group_key = (
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
    )
    derived = sas.derive_device_key(group_key, "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6")
    assert derived == "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="


def test_a_valid_token_returns_its_expiry():
    assert check(token(ttl=60)) == NOW + 60


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "x.azure-devices.net"])
def test_a_token_is_valid_for_any_host_name(host):
    assert check(token(f"{host}/devices/pi-1"))


def test_a_token_may_be_signed_with_either_key():
    assert check(token(key=OTHER), keys=(KEY, OTHER))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (token(key=OTHER), "the key is wrong"),
        (token(ttl=0), "expired 0 s ago"),
        (token(ttl=-60), "expired 60 s ago"),
        (token("a.hub/devices/pi-2"), "for 'a.hub/devices/pi-2'"),
        (token("a.hub"), "for 'a.hub'"),
        (token("a.hub/devices/pi-1/modules/m"), "modules"),
        (token() + "&skn=owner", "policy"),
        (token().replace("SharedAccessSignature", "Bearer"), "not a shared access signature"),
        ("", "not a shared access signature"),
        ("SharedAccessSignature sr=a", "not a shared access signature"),
        ("SharedAccessSignature &&==&sr", "not a shared access signature"),
    ],
)
def test_a_bad_token_is_refused(bad, reason):
    with pytest.raises(sas.Unauthorized, match=reason):
        check(bad)


def test_a_missing_token_is_refused():
    with pytest.raises(sas.Unauthorized):
        sas.check_token(None, path="/devices/pi-1", keys=[KEY], now=NOW)


@pytest.mark.parametrize("expiry", ["-1", "1e9", "٣", "9" * 400, "", "nan"])
def test_an_expiry_that_is_not_a_time_is_refused(expiry):
    resource = "a.hub%2Fdevices%2Fpi-1"
    signature = sas._sign(KEY, f"{resource}\n{expiry}").replace("+", "%2B").replace("=", "%3D")
    bad = f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"
    with pytest.raises(sas.Unauthorized):
        check(bad)


@fuzz(st.binary(max_size=300))
def test_any_password_is_valid_or_unauthorized(password):
    with pytest.raises(sas.Unauthorized):
        sas.check_token(password, path="/devices/pi-1", keys=[KEY], now=NOW)


@fuzz(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_any_fields_are_valid_or_unauthorized(resource, signature, expiry):
    bad = f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"
    with pytest.raises(sas.Unauthorized):
        sas.check_token(bad.encode(), path="/devices/pi-1", keys=[KEY], now=NOW)


def test_new_keys_are_valid_and_different():
    assert sas.check_key(sas.new_key()) != sas.new_key()


@pytest.mark.parametrize(
    "bad", ["", "short", "a" * 24 + "?", base64.b64encode(b"8 bytes.").decode()]
)
def test_an_invalid_key_is_refused(bad):
    with pytest.raises(InvalidKey):
        sas.check_key(bad)

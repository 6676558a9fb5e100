"""API tokens in the form of IoT Central's."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.console.sign_in import tokens

TOKEN = tokens.new_token(resource="app", name="script", expires=1_900_000_000.5)


def fields():
    return dict(part.partition("=")[::2] for part in TOKEN.partition(" ")[2].split("&"))


def written(values):
    return "SharedAccessSignature " + "&".join(f"{name}={value}" for name, value in values.items())


def test_a_token_has_the_fields_of_iot_centrals():
    assert TOKEN.startswith("SharedAccessSignature sr=app&sig=")
    assert fields()["skn"] == "script"
    assert fields()["se"] == "1900000000500"


def test_a_token_is_read_as_it_was_made():
    found = tokens.parse(TOKEN)
    assert found is not None
    assert (found.name, found.expires) == ("script", 1_900_000_000.5)
    again = tokens.parse(f" {TOKEN}\n")
    assert again == found


def test_the_order_of_the_fields_does_not_matter():
    assert tokens.parse(written(dict(reversed(fields().items())))) == tokens.parse(TOKEN)


@pytest.mark.parametrize(
    "change", [{"sr": "other"}, {"skn": "admin"}, {"se": "1900000000501"}, {"sig": "AAAA"}]
)
def test_each_field_is_part_of_the_digest(change):
    changed, real = tokens.parse(written(fields() | change)), tokens.parse(TOKEN)
    assert changed is not None
    assert real is not None
    assert changed.digest != real.digest


def test_characters_cannot_move_from_one_field_to_another():
    a = tokens.parse(written(fields() | {"sr": quote("a\nb"), "sig": "c"}))
    b = tokens.parse(written(fields() | {"sr": "a", "sig": quote("b\nc")}))
    assert a is None or b is None or a.digest != b.digest


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer abc",
        "SharedAccessSignature",
        "SharedAccessSignature sr=a&sig=b&skn=c",
        "SharedAccessSignature sr=a&sig=b&skn=c&se=soon",
        "SharedAccessSignature sr=a&sig=b&skn=c&se=-1",
        "SharedAccessSignature sr=a&sig=b&skn=c&se=1e9",
        "SharedAccessSignature sr=a&sig=b&skn=c&se=\u0661",
        "SharedAccessSignature sr=a&sig=&skn=c&se=1",
        f"{TOKEN}&skn=admin",
        f"{TOKEN}&more=1",
        "SharedAccessSignature sr=a&sig=b&skn=c&se=" + "9" * 400,
        "SharedAccessSignature sr=" + "a" * 2000 + "&sig=b&skn=c&se=1",
    ],
)
def test_anything_else_is_not_a_token(header):
    assert tokens.parse(header) is None


@given(st.text(max_size=200))
def test_no_header_is_an_error(text):
    tokens.parse(text)
    tokens.parse(f"SharedAccessSignature {text}")
    tokens.parse(f"SharedAccessSignature sr={text}&sig={text}&skn={text}&se=1")

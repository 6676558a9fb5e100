import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statuses import STATUS

from agent.config.loader import CloudConfig, Config, DeviceConfig
from agent.diagnostics import bug_report
from agent.diagnostics.bug_report import REDACTED, redacted, secrets_in
from agent.diagnostics.finding import failed, ok

KEY = "q83vEjRWeJA7AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
CONFIG = Config(
    device=DeviceConfig(id="pi-1"),
    cloud=CloudConfig(id_scope="0ne0", key_file=Path("pi.key")),
)


def write(file, **different):
    parts: dict[str, Any] = {
        "config": CONFIG,
        "mistakes": (),
        "findings": [("led", failed("It is dark.", "Look at it.", "GPIO 17"))],
        "status": STATUS,
        "settings": {"move": {"scopes": ["0ne0", "0ne000000BB"]}},
        "secrets": set(),
        "journal": "Connected to hub.test as pi-1.",
    }
    bug_report.write(file, **parts | different)
    return file.read_text()


def test_a_report_contains_every_part(tmp_path):
    text = write(tmp_path / "report.txt")
    for words in (
        "failed: led: It is dark.\n    Look at it.\n    GPIO 17",
        '"id_scope": "0ne0"',
        '"key_file": "pi.key"',
        '"totalMemory"',
        '"status": "ok"',
        '"0ne000000BB"',
        "Connected to hub.test as pi-1.",
    ):
        assert words in text


def test_half_a_surrogate_pair_is_escaped(tmp_path):
    status = replace(STATUS, properties={"name": "attic \ud83d"})
    assert "attic \\ud83d" in write(tmp_path / "report.txt", status=status)


def test_only_the_owner_can_read_a_report(tmp_path):
    file = tmp_path / "report.txt"
    file.write_text("old")
    file.chmod(0o644)
    write(file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_report_contains_no_secret_in_any_part(tmp_path):
    key, password, both = tmp_path / "pi.key", tmp_path / "password", tmp_path / "x.pem"
    key.write_text(f"{KEY}\n")
    password.write_text('s3cret "quoted" pass\n')
    both.write_text(
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END PRIVATE KEY-----\n"
    )
    everywhere = (
        f"{KEY} {password.read_text()} MIIEvQIBADANBgkqhkiG "
        "SharedAccessSignature sr=hub&sig=abc%2Fdef%3D&se=1 "
        "HostName=x;SharedAccessKey=abcdef;Other=1 http://anna:geheim@proxy:3128"
    )
    text = write(
        tmp_path / "report.txt",
        findings=[("a", ok(everywhere, everywhere)), ("b", failed(everywhere, everywhere))],
        mistakes=[everywhere],
        status=replace(STATUS, version=everywhere),
        journal=everywhere,
        secrets=secrets_in([key, password, both, tmp_path / "none"]),
    )
    for secret in (KEY, "s3cret", "MIIE", "abc%2Fdef", "abcdef", "geheim", "anna:"):
        assert secret not in text, secret
    assert text.count(REDACTED) > 20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text",
    [
        "hostname=h;deviceid=d;sharedaccesskey = {}\n",
        '{{\n  "connectionString": "HostName=h;DeviceId=d;SharedAccessKey={}"\n}}\n',
        '"{}"\n',
        "{}",
    ],
)
def test_a_pasted_key_is_found_however_it_was_saved(tmp_path, text, encoding):
    file = tmp_path / "secret"
    file.write_bytes(text.format("c2hvcnQ=").encode(encoding))
    assert "c2hvcnQ=" in secrets_in([file])


def test_a_key_in_a_connection_string_is_redacted_in_any_case():
    for name in ("SharedAccessKey", "sharedaccesskey"):
        assert redacted(f"HostName=h;{name}=short;x", ()) == f"HostName=h;{name}={REDACTED};x"


def test_certificates_are_not_redacted(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert secrets_in([file]) == set()


def test_an_unknown_key_is_recognised_by_its_form():
    assert redacted(f"the key is {KEY}.", ()) == f"the key is {REDACTED}."
    double = "A" * 86 + "=="
    assert redacted(f"({double})", ()) == f"({REDACTED})"


def test_similar_text_that_is_not_a_key_is_kept():
    text = "MESSAGE_ID=7e6add4324f44636a18dc8699aaaa1fe https://example.org/a:b@c sig"
    assert redacted(text, ()) == text


@given(st.text(min_size=4).map(str.strip).filter(lambda text: len(text) >= 4), st.text(), st.text())
def test_a_known_secret_is_always_redacted(secret, before, after):
    if secret in REDACTED or any(secret in part for part in (before, after)):
        return
    text = redacted(json.dumps({"x": f"{before}\n{secret}\n{after}"}), [secret])
    assert json.dumps(secret)[1:-1] not in text.replace(REDACTED, "")

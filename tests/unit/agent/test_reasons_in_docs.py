"""docs/doctor.md has each sentence about a failed connection, and no other."""

import re
import ssl
from pathlib import Path

import pytest
from places import ROOT

from agent import errors, tls_faults
from agent.cloud.sdk import KEEP_ALIVE_EXPIRED, NOT_MQTT
from agent.cloud.session import DID_NOT_COME_BACK
from agent.errors import CloudError
from agent.tls_faults import Server, explain

DOCUMENT = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
AZURE = "hub.azure-devices.net"
OF_THE_HUB = [
    errors.UnreachableError("HOST", "REASON"),
    errors.NoAnswerError("REQUEST", 60),
    errors.HubClosedError("HUB", "DEVICE"),
    errors.TakenOverError("HUB", "DEVICE", times=3, minutes=10),
    errors.RateExceededError("HUB", "DEVICE", max_rate=10),
    errors.QuotaUsedUpError("HUB"),
    errors.IdleConnectionError("HUB", 60, advised=30),
    errors.SessionLostError(f"The connection to HUB ended: {KEEP_ALIVE_EXPIRED}."),
    errors.SessionLostError(f"The connection to HUB ended: {NOT_MQTT}."),
    errors.EndedHereError(DID_NOT_COME_BACK.format("HUB")),
    errors.EndedHereError(
        "The connection to HUB is closed: N changes of desired properties are waiting."
    ),
    errors.HubUnavailableError("HUB", "accepted the connection and closed it at once"),
    errors.HubUnavailableError("HUB", "refuses connections for now"),
    errors.ServiceRefusedError("HUB", "REQUEST", said="", status=503),
    errors.ServiceRefusedError("HUB", "REQUEST", said="", status=429),
    errors.ServiceRefusedError("HUB", "REQUEST", said="REASON", status=413),
    errors.RefusedError("HUB", "DEVICE", before=True),
    errors.RefusedError("HUB", "DEVICE"),
    errors.RegistrationError("DEVICE", said="REASON", hint="Check it."),
    errors.CertificateUnreadableError("REASON"),
]
ELSEWHERE = {errors.SdkStuckError, errors.TlsError}  # A hanging SDK, and the second table.


def rows(heading):
    """Return the first column of the table under a heading."""
    section = DOCUMENT.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    table = section.partition("|---|---|---|\n")[2]
    return [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()]


def first_sentence(text):
    return re.split(r"(?<=\.) ", text)[0]


def test_each_sentence_about_the_hub_is_in_the_table():
    assert sorted(first_sentence(str(error)) for error in OF_THE_HUB) == sorted(
        rows("The hub and the provisioning service")
    )


def test_no_kind_of_failure_is_missing():
    def kinds(kind):
        return {kind}.union(*(kinds(each) for each in kind.__subclasses__()))

    ours = {kind for kind in kinds(CloudError) if kind.__module__ == errors.__name__}
    assert ours - ELSEWHERE - {CloudError} == {type(error) for error in OF_THE_HUB}


def refused(code):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "REASON"
    return error


NO_TLS = ssl.SSLError(1, "REASON")
NO_TLS.reason = "WRONG_VERSION_NUMBER"


def seen(issuer="ISSUER", *names):
    return {
        "issuer": ((("organizationName", issuer),),),
        "subjectAltName": tuple(("DNS", name) for name in names),
        "notBefore": "Jan  5 09:34:43 2026 GMT",
        "notAfter": "Jan  5 09:34:43 2026 GMT",
    }


OWN, WITH_CA = Server(host="HOST", port=8883), Server(host="HOST", port=8883, ca_file=Path("FILE"))
OF_AZURE = Server(host=AZURE, port=8883)
TLS = [
    (refused(20), WITH_CA, seen("ISSUER", "HOST"), b""),
    (refused(20), OWN, seen("ISSUER", "HOST"), b""),
    (refused(20), OF_AZURE, seen("ISSUER", AZURE), b""),
    (refused(20), OF_AZURE, seen("DigiCert Inc", AZURE), b""),
    (refused(62), OF_AZURE, seen("ISSUER", "NAME"), b""),
    (refused(62), OWN, seen("ISSUER", "NAME"), b""),
    (refused(62), OWN, seen("ISSUER"), b""),
    (refused(10), OWN, seen("ISSUER", "HOST"), b""),
    (refused(9), OWN, seen("ISSUER", "HOST"), b""),
    (NO_TLS, OF_AZURE, None, b"HTTP/1.1 302 Found\r\nLocation: PAGE\r\n"),
    (NO_TLS, OWN, None, b"HTTP/1.1 400 Bad Request\r\n"),
    (NO_TLS, OWN, None, b""),
]


def test_each_sentence_about_tls_is_in_the_table(monkeypatch):
    def said(error, server, certificate, answer):
        monkeypatch.setattr(tls_faults, "_certificate", lambda *_: certificate)
        monkeypatch.setattr(tls_faults, "_answer_in_plain_text", lambda *_: answer)
        fault = explain(error, server, pytest.fail)
        assert fault is not None
        text = fault.problem.replace(AZURE, "AZURE").replace('"DigiCert Inc"', "AUTHORITY")
        return re.sub(r"\d{4}-\d\d-\d\d", "DATE", text.replace('"ISSUER"', "ISSUER"))

    assert sorted(said(*each) for each in TLS) == sorted(rows("TLS"))

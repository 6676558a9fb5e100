import ssl
from pathlib import Path

import pytest

from agent import tls_faults
from agent.tls_faults import Server, explain

NOW = 1_700_000_000.0  # 2023-11-14.
OWN = Server(host="hub.test", port=8883, setting="hub in [cloud]")


def refused(code, message):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def unreachable():
    raise OSError("no route")


@pytest.mark.parametrize(
    ("code", "problem", "depends_on_clock"),
    [
        (9, "is not valid before an unknown date, and this machine's clock says", True),
        (10, "expired on an unknown date, and this machine's clock says 2023-11-14", True),
        (62, "The certificate that hub.test presents is for another host.", False),
        (64, "The certificate that hub.test presents is for another host.", False),
        (20, "was issued by an unknown authority, which this machine does not trust", False),
    ],
)
def test_a_server_that_cannot_be_looked_at_again_is_explained_without_names(
    code, problem, depends_on_clock
):
    fault = explain(refused(code, "refused."), OWN, unreachable, now=lambda: NOW)
    assert fault is not None
    assert problem in fault.problem
    assert fault.depends_on_clock == depends_on_clock


def test_the_words_of_openssl_end_without_a_full_stop():
    fault = explain(refused(20, "unable to get the issuer."), OWN, unreachable)
    assert fault is not None
    assert fault.problem.endswith("trust (unable to get the issuer).")


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), TimeoutError("timed out")])
def test_an_error_of_the_network_is_not_one_of_tls(error):
    assert explain(error, OWN, unreachable) is None


def test_only_a_configured_host_can_be_changed():
    assigned = Server(host="hub.test", port=8883)
    fault = explain(refused(62, "mismatch"), assigned, unreachable)
    assert fault is not None
    assert "give it a certificate for hub.test" in fault.advice
    assert "set " not in fault.advice


def presenting(monkeypatch, **dates):
    monkeypatch.setattr(tls_faults, "_certificate", lambda host, connect: dates)


@pytest.mark.parametrize("date", ["Bad time value", "Jan  1 00:00:00 1 GMT", ""])
def test_a_date_that_is_none_is_unknown(monkeypatch, date):
    presenting(monkeypatch, notBefore=date, notAfter=date)
    fault = explain(refused(10, "expired"), OWN, unreachable, now=lambda: NOW)
    assert fault is not None
    assert "expired on an unknown date" in fault.problem


@pytest.mark.parametrize(("code", "state"), [(9, "is not valid yet"), (10, "has expired")])
def test_an_expired_authority_is_not_taken_for_the_server(monkeypatch, code, state):
    dates = {"notBefore": "Nov  1 00:00:00 2023 GMT", "notAfter": "Dec  1 00:00:00 2023 GMT"}
    presenting(monkeypatch, **dates)
    own = Server(host="hub.test", port=8883, ca_file=Path("ca.pem"))
    fault = explain(refused(code, "wrong time"), own, unreachable, now=lambda: NOW)
    assert fault is not None
    assert fault.problem.startswith("A certificate in the chain of")
    assert state in fault.problem
    assert "update ca.pem" in fault.advice


def test_an_empty_list_of_names_is_none(monkeypatch):
    presenting(monkeypatch, subjectAltName=())
    error = refused(87, "Empty Subject Alternative Name extension")
    fault = explain(error, OWN, unreachable)
    assert fault is not None
    assert "names no host" in fault.problem

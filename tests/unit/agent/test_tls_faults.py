import ssl

import pytest

from agent.cloud.sdk import reason
from agent.tls_faults import certificate_advice


def refused(code, message):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def test_the_sentence_has_one_full_stop_after_the_reason():
    error = refused(62, "Hostname mismatch, certificate is not valid for 'hub.test'.")
    assert reason(error).startswith(
        "its certificate is not trusted: Hostname mismatch, certificate is not valid for "
        "'hub.test'. Check provisioning_host in [cloud]."
    )


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (9, "Check this machine's clock."),
        (10, "the server needs a new certificate"),
        (62, "Check provisioning_host"),
        (64, "Check provisioning_host"),
        (18, "set ca_file"),
        (19, "set ca_file"),
        (20, "ca-certificates"),
    ],
)
def test_the_advice_fits_the_reason(code, advice):
    assert advice in certificate_advice(refused(code, "refused"))

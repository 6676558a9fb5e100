"""Certificates that are not trusted: the reason, and what to do."""

import ssl

# X509_V_ERR_... of OpenSSL.
NOT_YET_VALID, EXPIRED = 9, 10
WRONG_HOST, WRONG_ADDRESS = 62, 64


def certificate_fault(error: ssl.SSLCertVerificationError) -> str:
    """Return why a server's certificate is not trusted, without a final full stop."""
    return error.verify_message.rstrip(".")


def certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    """Return what to do about a server whose certificate is not trusted."""
    match error.verify_code:
        case code if code == NOT_YET_VALID:
            return "Check this machine's clock."
        case code if code == EXPIRED:
            return "Check this machine's clock. If it is right, the server needs a new certificate."
        case code if code in {WRONG_HOST, WRONG_ADDRESS}:
            return (
                "Check provisioning_host in [cloud]. If it is right, a firewall may intercept the "
                "connection: ask whoever runs the network."
            )
    return (
        "If the server has a certificate authority of its own, set ca_file in [cloud] to its "
        "certificate. If it is Azure's, remove ca_file, install the package ca-certificates, and "
        "ask whoever runs the network whether a firewall intercepts the connection."
    )

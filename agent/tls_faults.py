"""Advice for certificates that are not trusted."""

import ssl

NOT_YET_VALID, EXPIRED = 9, 10  # X509_V_ERR_... of OpenSSL.


def certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    """Return what to do about a server whose certificate is not trusted."""
    if error.verify_code in {NOT_YET_VALID, EXPIRED}:
        return "Check this machine's clock."
    return (
        "If the server has a certificate authority of its own, set ca_file in [cloud]. If it is "
        "Azure's, a firewall intercepts the connection: ask whoever runs the network."
    )

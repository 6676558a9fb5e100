"""Why TLS with a server fails, and what to do: the sentences of both the journal and the doctor.

OpenSSL names the first thing that is wrong. To name the issuer, the host names or the web page, a
second connection looks at what the server presents. Nothing secret is sent over it.
"""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 3.0  # Seconds for each step of looking at a server.
PAGE = 2048  # Bytes of a web server's answer that are read.
LONGEST_NAME = 100  # Characters of a name that a server presents.
MOST_NAMES = 3  # Of a certificate's host names that a sentence repeats.
AZURE = (".azure-devices.net", ".azure-devices-provisioning.net")
AZURES_AUTHORITIES = ("DigiCert", "Microsoft")  # Organisations; microsoft.com/pkiops.

# X509_V_ERR_... of OpenSSL.
NOT_YET_VALID, EXPIRED = 9, 10
WRONG_HOST, WRONG_ADDRESS = 62, 64
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which Python does not name.

SIGN_IN = (
    "Another server answers instead of Azure, such as the sign-in page of a guest network: "
    "sign in with a browser on this network, or use another network."
)
NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL"}
NOT_TLS |= {"RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"}

Connect = Callable[[], socket.socket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server to connect to. `setting` is where its name is configured, if it is."""

    host: str
    port: int
    ca_file: Path | None = None
    setting: str | None = None

    @property
    def is_azure(self) -> bool:
        return self.host.lower().endswith(AZURE)


@dataclass(frozen=True, slots=True)
class TlsFault:
    """What is wrong, and what to do: a sentence each. A wrong clock may be the cause."""

    problem: str
    advice: str
    depends_on_clock: bool = False


def explain(
    error: OSError, server: Server, connect: Connect, *, now: Callable[[], float] = time.time
) -> TlsFault | None:
    """Return why TLS failed; None if `error` is not an error of TLS.

    `connect` opens another TCP connection to the server; it may raise OSError. `now` is this
    machine's clock. Takes up to some 12 s.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        seen = _certificate(server.host, connect)
        if error.verify_code in {NOT_YET_VALID, EXPIRED}:
            return _wrong_time(error.verify_code, server, seen, now())
        names = _names(seen)
        # Python 3.13 refuses an empty extension before it compares names.
        is_empty = "Alternative Name" in _verify_message(error)
        if (
            error.verify_code in {WRONG_HOST, WRONG_ADDRESS}
            or is_empty
            or not _fits(server.host, names)
        ):
            return _wrong_name(server, seen, names)
        return _unknown_authority(error, server, seen)
    if not isinstance(error, ssl.SSLError):
        return None
    answer = _answer_in_plain_text(server.host, connect) if _may_be_plain(error) else b""
    if answer.startswith(b"HTTP/"):
        return _plain_http(server, answer)
    return TlsFault(
        f"The TLS handshake with {server.host} failed: {_reason(error)}.",
        "Most likely a firewall or proxy interrupts it, or the server does not offer TLS 1.2: ask "
        "whoever runs the network or the server.",
    )


def _wrong_time(code: int, server: Server, seen: Mapping[str, Any] | None, now: float) -> TlsFault:
    day = _day((seen or {}).get("notBefore" if code == NOT_YET_VALID else "notAfter"))
    clock = time.strftime("%Y-%m-%d", time.gmtime(now))
    begin, end = (_seconds((seen or {}).get(name)) for name in ("notBefore", "notAfter"))
    if begin is not None and end is not None and begin <= now <= end:
        state = "is not valid yet" if code == NOT_YET_VALID else "has expired"
        file = "the package ca-certificates" if server.ca_file is None else str(server.ca_file)
        return TlsFault(
            f"A certificate in the chain of the certificate of {server.host} {state}, and this "
            f"machine's clock says {clock}.",
            f"If the clock is wrong, set it (timedatectl); if it is right, update {file}, or the "
            "server must send newer certificates.",
            depends_on_clock=True,
        )
    if code == NOT_YET_VALID:
        return TlsFault(
            f"The certificate of {server.host} is not valid before {day}, and this machine's "
            f"clock says {clock}.",
            "If the clock is wrong, set it (timedatectl); if it is right, the server needs another "
            "certificate.",
            depends_on_clock=True,
        )
    return TlsFault(
        f"The certificate of {server.host} expired on {day}, and this machine's clock says "
        f"{clock}.",
        "If the clock is wrong, set it (timedatectl); if it is right, the server needs a new "
        "certificate.",
        depends_on_clock=True,
    )


def _wrong_name(server: Server, seen: Mapping[str, Any] | None, names: list[str]) -> TlsFault:
    if seen is not None and not names:
        return TlsFault(
            f"The certificate of {server.host} names no host: it has no subject alternative name.",
            f"The server needs a certificate with the subject alternative name {server.host}.",
        )
    shown = ", ".join(names[:MOST_NAMES]) or "another host"
    problem = f"The certificate that {server.host} presents is for {shown}."
    if server.is_azure:
        return TlsFault(problem, SIGN_IN)
    rename = "" if server.setting is None else f"set {server.setting} to its name, or "
    return TlsFault(
        problem,
        f"If this is the right server, {rename}give it a certificate for {server.host}; otherwise "
        "another server answers in its place: ask whoever runs the network.",
    )


def _unknown_authority(
    error: ssl.SSLCertVerificationError, server: Server, seen: Mapping[str, Any] | None
) -> TlsFault:
    issuer = _organisation(seen)
    issued = f"The certificate of {server.host} was issued by {issuer}"
    of_azure = server.is_azure and any(name in issuer for name in AZURES_AUTHORITIES)
    if server.ca_file is not None:
        return TlsFault(
            f"{issued}, which is not an authority in ca_file = {server.ca_file} "
            f"({_verify_message(error)}).",
            "Remove ca_file from [cloud]: it is not for Azure."
            if of_azure
            else "A proxy or firewall inspects the connection. Ask whoever runs the network for "
            "the certificate of its authority, and put that into the file."
            if server.is_azure
            else "Put the certificate of the server's authority into that file, or "
            "remove ca_file from [cloud] if the server is Azure's.",
        )
    if of_azure:
        return TlsFault(
            f"{issued}, which this machine does not know.",
            "Install the package ca-certificates, or update it.",
        )
    if server.is_azure:
        return TlsFault(
            f"{issued}, which is not a public authority: a proxy or firewall inspects the "
            "connection.",
            f"Ask whoever runs the network to exempt {server.host}, or set ca_file in [cloud] to "
            "the certificate of that authority.",
        )
    return TlsFault(
        f"{issued}, which this machine does not trust ({_verify_message(error)}).",
        "If it is the server's own authority, set ca_file in [cloud] to its certificate; "
        "otherwise a proxy or firewall inspects the connection: ask whoever runs the network.",
    )


def _plain_http(server: Server, answer: bytes) -> TlsFault:
    location = re.search(rb"(?im)^location:[ \t]*(\S+)", answer)
    if location or answer[9:12] == b"511":  # Network Authentication Required (RFC 6585).
        page = f" and redirects to {_printable(location[1].decode('latin-1'))}" if location else ""
        return TlsFault(
            f"{server.host} port {server.port} replied in plain HTTP instead of TLS{page}.",
            SIGN_IN
            if server.is_azure
            else "Most likely that is the sign-in page of a guest network: sign in with a browser "
            "on this network, or use another network.",
        )
    check = "" if server.setting is None else f"check {server.setting}, or "
    return TlsFault(
        f"{server.host} port {server.port} replied in plain HTTP instead of TLS.",
        "A web server, proxy or firewall answers instead of the service: "
        f"{check}ask whoever runs the network.",
    )


def _certificate(host: str, connect: Connect) -> Mapping[str, Any] | None:
    """Return the server's certificate, as of getpeercert(), whether it is trusted or not."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with _tls(context, host, connect) as connection:
            encoded = connection.getpeercert(binary_form=True)
        # Python parses only a certificate that was verified, so this one vouches for itself.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=encoded)
        flags = context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags = ssl.VerifyFlags(int(flags) | NO_CHECK_TIME)
        with _tls(context, host, connect) as connection:
            return connection.getpeercert()
    except (OSError, ValueError):
        return None  # The sentence then names less.


def _tls(context: ssl.SSLContext, host: str, connect: Connect) -> ssl.SSLSocket:
    connection = connect()
    try:
        connection.settimeout(PATIENCE)
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:  # wrap_socket closes it only after some errors.
        connection.close()
        raise


def _answer_in_plain_text(host: str, connect: Connect) -> bytes:
    """Return the beginning of the answer to a request in plain HTTP; nothing without one."""
    answer = b""
    with suppress(OSError), connect() as connection:  # What has arrived counts.
        connection.settimeout(PATIENCE)
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        while len(answer) < PAGE and b"\r\n\r\n" not in answer:
            data = connection.recv(PAGE)
            if not data:
                break
            answer += data
    return answer


def _may_be_plain(error: ssl.SSLError) -> bool:
    return isinstance(error, ssl.SSLEOFError) or error.reason in NOT_TLS


def _names(seen: Mapping[str, Any] | None) -> list[str]:
    """Return the host names and addresses of a certificate."""
    return [
        _printable(name)
        for kind, name in (seen or {}).get("subjectAltName", ())
        if kind in {"DNS", "IP Address"}
    ]


def _fits(host: str, names: list[str]) -> bool:
    """Return whether a name fits; also if no name is known. RFC 6125 section 6.4.3."""
    wildcard = "*." + host.partition(".")[2]
    return not names or any(name.lower() in {host.lower(), wildcard.lower()} for name in names)


def _organisation(seen: Mapping[str, Any] | None) -> str:
    """Return the name of a certificate's issuer, in quotes."""
    parts = dict(_flat((seen or {}).get("issuer", ())))
    names = [parts.get("organizationName"), parts.get("commonName")]
    text = ", ".join(_printable(name) for name in names if name)
    return f'"{text}"' if text else "an unknown authority"


def _flat(name: Any) -> Iterator[tuple[str, str]]:
    for part in name:
        yield from part


def _day(moment: str | None) -> str:
    """Return the day of a time in a certificate, such as `Jan  5 09:34:43 2026 GMT`."""
    seconds = _seconds(moment)
    return "an unknown date" if seconds is None else time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _seconds(moment: str | None) -> int | None:
    """Return a time in a certificate as Unix time; None if it is not one. A server sends it."""
    with suppress(ValueError):  # A forged or damaged certificate.
        return None if moment is None else ssl.cert_time_to_seconds(moment)
    return None


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:LONGEST_NAME])


def _verify_message(error: ssl.SSLCertVerificationError) -> str:
    return error.verify_message.rstrip(".")


def _reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's words without its codes and places in its source."""
    text = re.sub(r"\[[^\]]*\] |\s*\(_ssl\.c:\d+\)", "", error.strerror or str(error))
    return text.strip().rstrip(".") or type(error).__name__

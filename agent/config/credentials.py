"""The secrets this device signs in with. They are files; what is in them is shown to nobody."""

import base64
import hashlib
import hmac
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent.config.loader import CloudConfig
from agent.errors import SecretError

OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the session needs to sign in: this device's own key, or its certificate."""

    key: str | None = field(default=None, repr=False)
    x509_cert_file: Path | None = None
    x509_key_file: Path | None = None
    proxy_password: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)


def read_credentials(
    cloud: CloudConfig, *, device_id: str, base: Path, environ: Mapping[str, str]
) -> Credentials:
    """Read the files that `cloud` names.

    A relative name is looked up in $CREDENTIALS_DIRECTORY first, then beside the configuration,
    in `base`. A group key is turned into this device's own. Raises SecretError, with what to do,
    when a file is missing, empty, not what it should be, or readable by others.
    """
    guarded = environ.get("CREDENTIALS_DIRECTORY")
    find = partial(_find, base=base, guarded=Path(guarded) if guarded else None)
    key = certificate = private_key = password = ca = None
    if cloud.group_key_file is not None:
        key = derive_device_key(_key(*find(cloud.group_key_file)), device_id)
    elif cloud.key_file is not None:
        key = _key(*find(cloud.key_file))
    if cloud.x509_cert_file is not None and cloud.x509_key_file is not None:
        certificate, _ = find(cloud.x509_cert_file)
        _text(certificate)
        private_key, is_guarded = find(cloud.x509_key_file)
        _secret(private_key, is_guarded)
    if cloud.proxy_password_file is not None:
        password = _secret(*find(cloud.proxy_password_file))
    if cloud.ca_file is not None:
        ca = _certificates(find(cloud.ca_file)[0])
    return Credentials(
        key=key,
        x509_cert_file=certificate,
        x509_key_file=private_key,
        proxy_password=password,
        ca=ca,
    )


def secret_files(cloud: CloudConfig, *, base: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return where the files are that `read_credentials` would read; they need not exist."""
    guarded = environ.get("CREDENTIALS_DIRECTORY")
    named = (
        cloud.key_file,
        cloud.group_key_file,
        cloud.x509_cert_file,
        cloud.x509_key_file,
        cloud.proxy_password_file,
        cloud.ca_file,
    )
    find = partial(_find, base=base, guarded=Path(guarded) if guarded else None)
    return [find(name)[0] for name in named if name is not None]


def derive_device_key(group_key: str, device_id: str) -> str:
    """Return the key of one device in an enrolment group.

    https://learn.microsoft.com/azure/iot-dps/concepts-symmetric-key-attestation
    """
    signature = hmac.digest(base64.b64decode(group_key), device_id.encode(), hashlib.sha256)
    return base64.b64encode(signature).decode()


def _find(path: Path, *, base: Path, guarded: Path | None) -> tuple[Path, bool]:
    """Return where a file is, and whether systemd guards it."""
    if guarded is not None and not path.is_absolute() and (guarded / path).exists():
        return guarded / path, True
    path = base / path.expanduser()
    return path, guarded is not None and path.parent == guarded


def _key(path: Path, is_guarded: bool) -> str:  # noqa: FBT001 - what _find says.
    key = _secret(path, is_guarded)
    try:
        decoded = base64.b64decode(key, validate=True)
    except ValueError:
        decoded = b""
    if not decoded:
        raise SecretError(
            f"{path} does not hold a key: a key is one line of base64, as the Connect dialog of "
            "the device shows it."
        )
    return key


def _secret(path: Path, is_guarded: bool) -> str:  # noqa: FBT001 - what _find says.
    """Read a file that nobody else may read; refuse one that somebody can."""
    text = _text(path).strip()
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS and not is_guarded:
        raise SecretError(
            f"{path} can be read by others (mode {mode:04o}); close it with: chmod 600 {path}"
        )
    if not text:
        raise SecretError(f"{path} is empty; it should hold a secret.")
    return text


def _certificates(path: Path) -> str:
    text = _text(path)
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise SecretError(f"{path} does not hold certificates in PEM form.") from error
    return text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SecretError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SecretError(f"{path} is not a text file.") from error

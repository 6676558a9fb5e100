"""The secrets this device signs in with. They are files; their contents are never shown."""

import base64
import hashlib
import hmac
import ssl
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from agent.config.loader import CloudConfig, Config, exists
from agent.config.pasted import (
    UTF8_MARK,
    UTF16_MARKS,
    ConnectionString,
    PasteError,
    check_key,
    decode,
    is_connection_string,
    parse_connection_string,
    unquoted,
)
from agent.errors import SecretError, in_words

T = TypeVar("T")

STORED = "credentials"  # Setup keeps the service's keys in this directory.
SERVICE_CREDENTIALS = f"/etc/sensor-agent/{STORED}"
OTHERS = stat.S_IRWXG | stat.S_IRWXO
CONTENTS = {
    "connection_string_file": "this device's connection string, which begins with HostName=,",
    "key_file": "this device's key, as its page in the portal shows it,",
    "group_key_file": "the key of the enrolment group",
    "x509_cert_file": "this device's certificate, in PEM,",
    "x509_key_file": "the private key of the certificate, in PEM,",
    "proxy_password_file": "the password for the proxy",
    "ca_file": "the certificates of the authorities, in PEM,",
}
"""The configuration keys in [cloud] that name a file, and what the file holds."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the session needs to sign in: this device's own key, or its certificate."""

    key: str | None = field(default=None, repr=False)
    x509_cert_file: Path | None = None
    x509_key_file: Path | None = None
    proxy_password: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _File:
    """A file that the configuration names."""

    key: str  # In [cloud].
    path: Path
    is_guarded: bool  # It is in systemd's directory, which other users cannot enter.
    in_service: bool  # The reader is the service.


def sign_in(
    config: Config, *, base: Path, environ: Mapping[str, str]
) -> tuple[Config, Credentials | None]:
    """Return the configuration with the hub and the id of a connection string, and the secrets.

    The secrets are None if `config` has no cloud. See `read_credentials` for the rest.
    """
    if config.cloud is None:
        return config, None
    files = _files(config.cloud, base=base, environ=environ)
    given: ConnectionString | None = None
    errors: list[SecretError] = []
    if "connection_string_file" in files:
        try:
            given = _connection_string(files["connection_string_file"], config)
        except SecretError as error:
            errors.append(error)
    if given is not None:
        config = replace(
            config,
            device=replace(config.device, id=given.device_id),
            cloud=replace(config.cloud, hub=given.hub),
        )
    credentials = _read(files, config.device.id, errors)
    if given is not None:
        credentials = replace(credentials, key=given.key)
    return config, credentials


def check_again(config: Config, *, running: Config, base: Path, environ: Mapping[str, str]) -> None:
    """Check the files that a changed configuration names. Raises SecretError as `sign_in` does.

    In the service, files that `running` does not name are not checked: systemd passes credentials
    to the daemon when it starts.
    """
    named = [[getattr(one.cloud, key, None) for key in CONTENTS] for one in (running, config)]
    if named[0] == named[1] or "CREDENTIALS_DIRECTORY" not in environ:
        sign_in(config, base=base, environ=environ)


def read_credentials(
    cloud: CloudConfig, *, device_id: str, base: Path, environ: Mapping[str, str]
) -> Credentials:
    """Read the files that `cloud` names, except the connection string: `sign_in` reads that, too.

    A relative name is looked up in $CREDENTIALS_DIRECTORY, then in `base`, the directory of the
    configuration, and then, except in the service, in its directory `credentials`. A group key is
    turned into this device's own. Raises SecretError with a sentence for each file that is missing,
    empty, readable by others, or not what it should be.
    """
    return _read(_files(cloud, base=base, environ=environ), device_id, [])


def _read(files: Mapping[str, "_File"], device_id: str, errors: list[SecretError]) -> Credentials:
    """Read these files. Raises SecretError with all mistakes; `errors` are the earlier ones."""

    def read(key: str, reader: Callable[[_File], T]) -> T | None:
        if key not in files:
            return None
        try:
            return reader(files[key])
        except SecretError as error:
            errors.append(error)
            return None

    key, group_key = read("key_file", _key), read("group_key_file", _key)
    certificate = read("x509_cert_file", _certificate_file)
    private_key = read("x509_key_file", _private_key)
    if certificate is not None and private_key is not None:
        read("x509_key_file", lambda file: _must_match(files["x509_cert_file"], file))
    password, ca = read("proxy_password_file", _secret), read("ca_file", _certificates)
    if errors:
        # A caller that sees PermissionError may advise to use sudo: only if that is all.
        causes = [error.__cause__ for error in errors]
        others = [cause for cause in causes if not isinstance(cause, PermissionError)]
        raise SecretError(*(str(error) for error in errors)) from (others or causes)[0]
    return Credentials(
        key=key if group_key is None else derive_device_key(group_key, device_id),
        x509_cert_file=files["x509_cert_file"].path if certificate is not None else None,
        x509_key_file=files["x509_key_file"].path if private_key is not None else None,
        proxy_password=password,
        ca=ca,
    )


def secret_files(cloud: CloudConfig, *, base: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the paths that `read_credentials` would read; they need not exist."""
    return [file.path for file in _files(cloud, base=base, environ=environ).values()]


def derive_device_key(group_key: str, device_id: str) -> str:
    """Return the key of one device in an enrolment group.

    https://learn.microsoft.com/azure/iot-dps/concepts-symmetric-key-attestation
    """
    signature = hmac.digest(base64.b64decode(group_key), device_id.encode(), hashlib.sha256)
    return base64.b64encode(signature).decode()


def _files(cloud: CloudConfig, *, base: Path, environ: Mapping[str, str]) -> dict[str, _File]:
    """Return the files that are named, by key."""
    guarded = Path(given) if (given := environ.get("CREDENTIALS_DIRECTORY")) else None
    named = {key: getattr(cloud, key) for key in CONTENTS}
    return {
        key: _find(key, name, base=base, guarded=guarded)
        for key, name in named.items()
        if name is not None
    }


def _find(key: str, name: Path, *, base: Path, guarded: Path | None) -> _File:
    if guarded is not None and not name.is_absolute() and (guarded / name).exists():
        return _File(key, guarded / name, is_guarded=True, in_service=True)
    with suppress(RuntimeError):  # There is no such user: the name is what it says.
        name = name.expanduser()
    path = base / name
    stored = base / STORED / name
    # The service's user cannot search that directory: systemd reads it for the service.
    if guarded is None and not exists(path) and exists(stored):
        path = stored
    is_guarded = guarded is not None and path.parent == guarded
    return _File(key, path, is_guarded=is_guarded, in_service=guarded is not None)


def _connection_string(file: _File, config: Config) -> ConnectionString:
    """Read a connection string, and compare it with the rest of the configuration."""
    try:
        given = parse_connection_string(unquoted(_secret(file)))
    except PasteError as error:
        raise SecretError(f"{file.path} {error}") from error
    configured = config.device.id
    if configured not in {"", given.device_id}:
        raise SecretError(
            f'{file.path} is the connection string of "{given.device_id}", but [device] id is '
            f'"{configured}". Remove [device] id, or copy the string of that device.'
        )
    has_certificate = config.cloud is not None and config.cloud.x509_cert_file is not None
    if given.key is None and not has_certificate:
        raise SecretError(
            f"{file.path} has x509=true. Set x509_cert_file and x509_key_file in [cloud], too."
        )
    if given.key is not None and has_certificate:
        raise SecretError(
            f"{file.path} has a SharedAccessKey, and [cloud] has x509_cert_file. Remove "
            "x509_cert_file and x509_key_file, or use a connection string with x509=true."
        )
    return given


def _key(file: _File) -> str:
    key = unquoted(_secret(file))
    if is_connection_string(key):
        raise SecretError(f"{file.path} {_not_a_connection_string(file)}")
    try:
        check_key(key)
    except PasteError as error:
        raise SecretError(f"{file.path} {error}") from error
    return key


def _not_a_connection_string(file: _File) -> str:
    if file.key == "group_key_file":
        return (
            "holds a connection string, not the key of an enrolment group. For a device of IoT Hub "
            "without the provisioning service, set connection_string_file in place of id_scope "
            "and group_key_file."
        )
    return (
        "holds a connection string, not a key. Set "
        f'connection_string_file = "{file.path.name}" in place of key_file and of id_scope or hub.'
    )


def _secret(file: _File) -> str:
    """Read a file that must be closed to other users."""
    text = _text(file).strip()
    mode = stat.S_IMODE(file.path.stat().st_mode)
    if mode & OTHERS and not file.is_guarded:
        raise SecretError(
            f"{file.path} can be read by others (mode {mode:04o}). To close it: "
            f"chmod 600 {file.path}"
        )
    if not text:
        # systemd's copy of a file that is missing is empty, see the service's unit.
        place = f"{SERVICE_CREDENTIALS}/{file.path.name}" if file.is_guarded else "that file"
        raise SecretError(f"{file.path} is empty. Write {CONTENTS[file.key]} to {place}.")
    return text


def _certificates(file: _File) -> str:
    text = _text(file)
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise SecretError(f"{file.path} does not hold certificates in PEM form.") from error
    return text


def _certificate_file(file: _File) -> str:
    _must_be_plain(file)
    return _certificates(file)


def _private_key(file: _File) -> str:
    _must_be_plain(file)
    return _secret(file)


def _must_be_plain(file: _File) -> None:
    """Refuse what OpenSSL, which reads the file itself, does not understand."""
    if _raw(file).startswith((UTF8_MARK, *UTF16_MARKS)):
        raise SecretError(
            f"{file.path} begins with a byte order mark, as Windows' editors write it. Save it as "
            "UTF-8 without BOM, or as ANSI."
        )


def _must_match(certificate: _File, private_key: _File) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # With an empty passphrase an encrypted key is an error; without one OpenSSL would prompt.
        context.load_cert_chain(certificate.path, private_key.path, password="")
    except (ssl.SSLError, ValueError) as error:
        raise SecretError(
            f"{private_key.path} is not the private key of {certificate.path}, or it is "
            "encrypted. Name an unencrypted key in PEM form that belongs to the certificate."
        ) from error


def _text(file: _File) -> str:
    try:
        return decode(_raw(file))
    except UnicodeDecodeError as error:
        raise SecretError(f"{file.path} is not a text file. Save it as UTF-8.") from error


def _raw(file: _File) -> bytes:
    path = file.path
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        remedy = f"Write {CONTENTS[file.key]} to that file, or correct {file.key} in [cloud]."
        raise SecretError(
            f"{path} does not exist. {_pass_to_service(file) if file.in_service else remedy}"
        ) from error
    except PermissionError as error:
        remedy = "Use sudo, or give this user access to it."
        raise SecretError(
            f"{path} cannot be read: {in_words(error)}. "
            f"{_pass_to_service(file) if file.in_service else remedy}"
        ) from error
    except OSError as error:
        raise SecretError(
            f"{path} cannot be read: {in_words(error)}. Correct {file.key} in [cloud]."
        ) from error


def _pass_to_service(file: _File) -> str:
    name = file.path.name
    return (
        f'Put it in {SERVICE_CREDENTIALS}, set {file.key} = "{name}" in [cloud], and add '
        f"LoadCredential={name}:{SERVICE_CREDENTIALS}/{name} to [Service] with: "
        "sudo systemctl edit sensor-agent"
    )

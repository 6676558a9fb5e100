"""The files that options name, and the same content typed. Errors never show a secret."""

import json
from pathlib import Path

from agent.config.pasted import (
    ConnectionString,
    PasteError,
    check_key,
    decode,
    is_connection_string,
    parse_connection_string,
    unquoted,
)
from agent.errors import AgentError, in_words

TYPED = "This line"  # The name of a typed secret in a sentence.
LARGEST = 1_000_000  # Bytes. No key or certificate is larger.


def read_bytes(file: Path) -> bytes:
    """Return the content of a file. Raises AgentError."""
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except IsADirectoryError:
        raise AgentError(f"{file} is a directory, not a file. Name the file in it.") from None
    except OSError as error:
        raise AgentError(f"Cannot read {file}: {in_words(error)}.") from error
    if len(content) > LARGEST:
        raise AgentError(f"{file} is larger than 1 MB, so it is not a key or a certificate.")
    return content


def read_text(file: Path) -> str:
    """Return the text of a file, without space and quotes around it. Raises AgentError."""
    try:
        return unquoted(decode(read_bytes(file)))
    except UnicodeDecodeError:
        raise AgentError(f"{file} is not a text file.") from None


def read_authorities(file: Path) -> bytes:
    """Return the content of a file that every user may read afterwards. Raises AgentError."""
    content = read_bytes(file)
    if b"PRIVATE KEY" in content:
        raise AgentError(
            f"{file} holds a private key, too. Name a file that holds only certificates, because "
            "every user can read the installed one."
        )
    return content


def checked_key(text: str, name: str | Path = TYPED) -> str:
    """Return a key in base64, if `text` is one. Raises AgentError; `name` says where it is from."""
    if not text:
        raise AgentError(f"{name} is empty.")
    if is_connection_string(text):
        raise AgentError(
            f"{name} holds a connection string, not a key. Give it with --connection-string-file."
        )
    try:
        check_key(text)
    except PasteError as error:
        raise AgentError(f"{name} {error}") from error
    return text


def checked_connection_string(text: str, name: str | Path = TYPED) -> ConnectionString:
    """Return the parts of a device's connection string. Raises AgentError."""
    if not text:
        raise AgentError(f"{name} is empty.")
    try:
        return parse_connection_string(text)
    except PasteError as error:
        raise AgentError(f"{name} {error}") from error


def read_central(directory: Path) -> tuple[str, str, str]:
    """Return ID scope, host name and page of the local IoT Central with its data in `directory`.

    Central keeps the file central.json while it runs. Raises AgentError.
    """
    file = directory / "central.json"
    try:
        central = json.loads(file.read_bytes())
        match central:
            case {"id_scope": str(id_scope), "mqtt_host": str(host)}:
                page = central.get("http")
                return id_scope, host, page if isinstance(page, str) else ""
    except OSError as error:
        raise AgentError(
            f"Cannot read {file}: {in_words(error)}. Start the local IoT Central (sensor-agent "
            "central), or give its data directory with --central."
        ) from error
    except (ValueError, RecursionError):
        pass  # Not JSON.
    raise AgentError(f"{file} is damaged. Restart the local IoT Central, which writes it again.")

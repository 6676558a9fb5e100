"""The errors of central. `str()` of each is a sentence that says what to do about it."""
# ruff: noqa: N818 - the names say what is the case

import shlex
from pathlib import Path


class CentralError(Exception):
    """The base of all errors that central raises."""


class StartError(CentralError):
    """Central cannot start."""


class DataDirectoryInUse(StartError):
    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"Another central is using {directory}. Stop that one first, or give this one a "
            "directory of its own with --data."
        )


class FileMissing(StartError):
    """A file that the data directory had is gone; central makes no other one unless asked to.

    The request is an empty file of that name. `loss` says what a new one would break.
    """

    def __init__(self, path: Path, *, loss: str) -> None:
        super().__init__(
            f"{path} is missing; with a new one, {loss}. Put it back from a backup, or run this "
            f"command to have a new one made: touch {shlex.quote(str(path))}"
        )


class UnknownAddress(StartError):
    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host!r} is not an address of this machine. Listen on 127.0.0.1 for programs on this "
            "machine, on 0.0.0.0 for its whole network, or on one address that `ip address` shows."
        )


class PortTaken(StartError):
    def __init__(self, host: str, port: int, *, hint: str) -> None:
        super().__init__(f"Port {port} of {host} is taken by another program; {hint}.")


class StoreError(CentralError):
    """The database cannot be read or written; nothing was changed."""


class BackupError(CentralError):
    """A backup cannot be made, or cannot be restored; nothing was changed."""


class UnknownDevice(CentralError):
    def __init__(self, device_id: str) -> None:
        super().__init__(f"There is no device {device_id!r}.")


class DeviceExists(CentralError):
    def __init__(self, device_id: str) -> None:
        super().__init__(f"There already is a device {device_id!r}.")


class InvalidDeviceId(CentralError):
    def __init__(self, device_id: str) -> None:
        super().__init__(
            f"{device_id!r} cannot be a device id: it has 1 to 128 characters, each a letter "
            "(A-Z, a-z), a digit or one of - . % _ * ? ! ( ) , : = @ ; $ '"
        )


class InvalidKey(CentralError):
    def __init__(self) -> None:
        super().__init__("A key must be 16 to 64 bytes in base64.")


class UnknownTemplate(CentralError):
    def __init__(self, dtmi: str) -> None:
        super().__init__(f"There is no device template {dtmi!r}.")


class ModelTooLarge(CentralError):
    def __init__(self, dtmi: str) -> None:
        super().__init__(
            f"The model {dtmi!r} is too large with its components and schemas. Remove some of "
            "them, or make them smaller."
        )


class InvalidTwin(CentralError):
    """A document of properties that the hub does not accept."""


class TwinTooLarge(InvalidTwin):
    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"The properties would take {size} bytes; the hub stores at most {limit}.")


class CommandError(CentralError):
    """A command cannot be carried out."""


class InvalidCommand(CommandError):
    """The hub does not accept the name or the request of a command."""


class NotConnected(CommandError):
    def __init__(self, device_id: str) -> None:
        super().__init__(f"The device {device_id!r} is not connected, or does not accept commands.")


class NoAnswer(CommandError):
    def __init__(self, device_id: str, name: str, seconds: float) -> None:
        super().__init__(f"{device_id!r} did not answer the command {name!r} within {seconds:g} s.")


class QueueFull(CommandError):
    def __init__(self, device_id: str, limit: int) -> None:
        super().__init__(
            f"{limit} commands are queued for {device_id!r} already, which is the limit."
        )


class UnknownRule(CentralError):
    def __init__(self, number: int) -> None:
        super().__init__(f"There is no rule {number}.")


class UnknownAlert(CentralError):
    def __init__(self, number: int) -> None:
        super().__init__(f"There is no alert {number}.")


class InvalidWebhook(CentralError):
    """A text cannot be the URL of a webhook."""


class InvalidPassword(CentralError):
    """A new password is not acceptable."""


class InvalidUser(CentralError):
    """A user or an API token cannot be added or changed."""


def in_words(error: OSError) -> str:
    """Return the text of a system error without its number: `Permission denied: FILE`."""
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{reason}: {error.filename}"

"""What can go wrong here, each in one sentence a person can act on."""
# ruff: noqa: N818 - the names say what is the case.

import shlex
from pathlib import Path


class CentralError(Exception):
    """The root of everything this package raises."""


class StartError(CentralError):
    """Central cannot start; `str()` says what to do."""


class DataDirectoryInUse(StartError):
    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"Another central is using {directory}: stop that one first, or give this one a "
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
    """Central's file could not be read or written; what was asked for did not happen."""


class UnknownDevice(CentralError):
    def __init__(self, device_id: str) -> None:
        super().__init__(f"There is no device {device_id!r}.")


class DeviceExists(CentralError):
    def __init__(self, device_id: str) -> None:
        super().__init__(f"There is a device {device_id!r} already.")


class InvalidDeviceId(CentralError):
    def __init__(self, device_id: str) -> None:
        super().__init__(
            f"{device_id!r} cannot be a device id: it has 1 to 128 characters, each a letter "
            "(A-Z, a-z), a digit, or one of - . _ :"
        )


class InvalidKey(CentralError):
    def __init__(self) -> None:
        super().__init__("A key is the base64 text of 16 to 64 bytes.")


class UnknownTemplate(CentralError):
    def __init__(self, dtmi: str) -> None:
        super().__init__(f"There is no device template {dtmi!r}.")


class InvalidTwin(CentralError):
    """A property document that the hub does not take; `str()` says why."""


class TwinTooLarge(InvalidTwin):
    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"The properties would be {size} bytes; the hub keeps at most {limit}.")


class CommandError(CentralError):
    """A command that could not be carried out."""


class InvalidCommand(CommandError):
    """The name or the request of a command is not one the hub takes."""


class NotConnected(CommandError):
    def __init__(self, device_id: str) -> None:
        super().__init__(f"The device {device_id!r} is not connected, or takes no commands.")


class NoAnswer(CommandError):
    def __init__(self, device_id: str, name: str, seconds: float) -> None:
        super().__init__(f"{device_id!r} did not answer the command {name!r} in {seconds:g} s.")


class QueueFull(CommandError):
    def __init__(self, device_id: str, limit: int) -> None:
        super().__init__(f"{limit} commands wait for {device_id!r} already; no more are kept.")


def in_words(error: OSError) -> str:
    """Return what the system says about an error, without its number: `Permission denied: file`."""
    said = error.strerror or str(error)
    return said if error.filename is None else f"{said}: {error.filename}"

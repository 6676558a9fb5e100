"""What can go wrong in the daemon, each in a sentence a person can act on."""

import re
import socket
from pathlib import Path

LOOKUP_FAILURES = {
    socket.EAI_NONAME: "the name has no address, or there is no network",
    socket.EAI_AGAIN: "no name server answers",
}


def in_words(error: OSError) -> str:
    """Return why a system call failed, without error numbers and a final full stop."""
    if isinstance(error, socket.gaierror) and error.errno in LOOKUP_FAILURES:
        return LOOKUP_FAILURES[error.errno]
    # PySocks and asyncio quote another error in theirs, with its number.
    text = re.sub(r"\[Errno -?\d+\] ", "", error.strerror or str(error)).strip().rstrip(".")
    if not text:
        return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return text


class AgentError(Exception):
    """The root of everything this package raises."""


class ConfigError(AgentError):
    """The configuration cannot work.

    Each of `mistakes` is one sentence: the file, the key, what was found, what is allowed.
    `str()` has them all, one a line.
    """

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class SecretError(ConfigError):
    """A key, certificate or password file cannot be used; `str()` says which and what to do."""


class MissingPackagesError(AgentError):
    """A command needs packages that are not installed; `str()` says how to install them."""


class StoreError(AgentError):
    """The daemon's file could not be read or written; what was asked for did not happen."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used: {reason}.")
        self.path = path


class StoreInUse(StoreError):  # noqa: N818 - says what is the case.
    """Another daemon works in the same state directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            "another sensor-agent is using it; stop that one first, "
            "or give this one a state directory of its own with STATE_DIRECTORY",
        )


class StoreTooNew(StoreError):  # noqa: N818 - says what is the case.
    """The file was written by a newer version of this program."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            path,
            f"it was written by a newer sensor-agent (format {found}, this one knows {known}); "
            "install that version again, or move the file away",
        )


class CloudError(AgentError):
    """The root of what can go wrong between here and the hub. Trying again later may help.

    `depends_on_clock` where a time of day that is wrong here brings the same about.
    """

    depends_on_clock = False


class UnreachableError(CloudError):
    """There is no connection to be had: name, network, proxy or TLS."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host} cannot be reached: {reason}.")
        self.host = host
        self.depends_on_clock = "certificate" in reason.lower()


class RefusedError(CloudError):
    """The hub refused this device's credentials."""

    depends_on_clock = True  # A token says until when it is good.

    def __init__(self, host: str, device_id: str) -> None:
        super().__init__(
            f"{host} refused the credentials of {device_id}: the key is not this device's, the "
            "device is blocked or was moved to another hub, or this machine's clock is wrong."
        )
        self.host = host


class RegistrationError(CloudError):
    """The provisioning service would not assign this device to a hub."""

    depends_on_clock = True

    def __init__(self, device_id: str, *, said: str, hint: str) -> None:
        super().__init__(f"The provisioning service did not accept {device_id}: {said}. {hint}")
        self.said = said


class NoAnswerError(CloudError):
    """Something was asked and not answered in time."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what} was not answered within {seconds:g} s.")
        self.seconds = seconds


class ServiceRefusedError(CloudError):
    """The hub answered a request with an error, such as 429 for too many."""

    def __init__(self, sentence: str, *, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status

    @property
    def for_good(self) -> bool:
        """Whether it is of no use to ask the same again: the request itself is wrong."""
        return self.status is not None and 400 <= self.status < 429  # noqa: PLR2004 - HTTP's.


class SessionLostError(CloudError):
    """The connection ended: what was under way may or may not have arrived."""


class HubClosedError(SessionLostError):
    """The hub closed the connection, or something on the way did."""


class TakenOverError(HubClosedError):
    """The hub closes one connection after another, as it does when another device signs in."""

    def __init__(self, hub: str, device_id: str, *, times: int, minutes: float) -> None:
        super().__init__(
            f"{hub} has closed the connection {times} times within {minutes:g} minutes. Most "
            f"likely another device signs in as {device_id}: a copied card, or a second daemon. "
            "Give each its own device id. If there is none, it is the network."
        )


class SdkStuckError(CloudError):
    """The SDK itself no longer moves: a client cannot be made or put away in this process."""


class OutputError(AgentError):
    """Standard output could not be written.

    `reader_is_gone` if it is a pipe that nobody reads, `terminal_is_gone` if it is a terminal that
    was closed.
    """

    def __init__(
        self, reason: str, *, reader_is_gone: bool = False, terminal_is_gone: bool = False
    ) -> None:
        super().__init__(f"Cannot write to standard output: {reason}.")
        self.reader_is_gone = reader_is_gone
        self.terminal_is_gone = terminal_is_gone


class ControlError(AgentError):
    """The running daemon could not be asked, or refused what it was asked.

    `sentence` says what happened, `advice` what to do about it, where that is known.
    """

    def __init__(self, sentence: str, advice: str | None = None) -> None:
        super().__init__(sentence if advice is None else f"{sentence} {advice}")
        self.sentence = sentence
        self.advice = advice


class NoDaemonError(ControlError):
    """No daemon runs that could be asked."""

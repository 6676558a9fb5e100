"""The errors of this package. `str()` of each says what happened and what to do."""

import json
import re
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any

QUOTED = 60  # Characters of a refused value that its reason repeats.
LONGEST_PHRASE = 300  # Characters of foreign text in a sentence. A proxy's answer has any length.
LOOKUP_FAILURES = {
    socket.EAI_NONAME: "the name has no address, or there is no network",
    socket.EAI_AGAIN: "no name server answers",
}


def in_words(error: OSError) -> str:
    """Return why a system call failed, without error numbers and a final full stop."""
    if isinstance(error, socket.gaierror) and error.errno in LOOKUP_FAILURES:
        return LOOKUP_FAILURES[error.errno]
    # PySocks and asyncio quote another error in theirs, with its number.
    text = phrase(re.sub(r"\[Errno -?\d+\] ", "", error.strerror or str(error)))
    if not text:
        return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return text


def quote(value: Any) -> str:
    """Return a value as JSON for a reason: short, with control characters escaped."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= QUOTED else text[: QUOTED - 1] + "…"


def phrase(text: object) -> str:
    """Return foreign text so that a sentence can contain it, before a full stop of its own.

    One line, at most LONGEST_PHRASE characters, without the full stop at its end.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line[:LONGEST_PHRASE].rstrip(" .")


START_CENTRAL = "If the local IoT Central is not running, start it: sensor-agent central"


def is_loopback(host: str) -> bool:
    """Return whether a host name or IPv4 address is that of this machine itself."""
    return host == "localhost" or host.startswith("127.")


class AgentError(Exception):
    """The root of everything this package raises."""


class ConfigError(AgentError):
    """The configuration has mistakes.

    Each of `mistakes` is a sentence with the file, the key, the value found and the values
    allowed. `str()` has one on each line.
    """

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes

    def in_one_line(self) -> str:
        """Return the first mistake, and the number of the others."""
        more = len(self.mistakes) - 1
        return self.mistakes[0] + (f" (and {more} more)" if more else "")


class SecretError(ConfigError):
    """A key, certificate or password file cannot be used."""


class MissingPackagesError(AgentError):
    """A command needs packages that are not installed."""


class StoreInUse(AgentError):  # noqa: N818 - the name states a condition.
    """Another daemon uses the same state directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"Cannot use {path}: another sensor-agent is using it. Stop that one first, or set "
            "STATE_DIRECTORY to another directory for this one."
        )


class CloudError(AgentError):
    """The root of all errors between the daemon and the hub. Trying again later may help.

    `depends_on_clock` is true if a wrong clock on this machine can be the cause.
    """

    depends_on_clock = False


class UnreachableError(CloudError):
    """No connection to a host: name lookup, network, proxy or TLS failed."""

    def __init__(self, host: str, reason: str) -> None:
        refused = is_loopback(host) and "refused" in reason
        advice = START_CENTRAL if refused else "To check each step of the way: sensor-agent check"
        super().__init__(f"{host} cannot be reached: {phrase(reason)}. {advice}")
        self.host = host


class RefusedError(CloudError):
    """The hub refused this device's credentials.

    `before` is true if it has accepted them earlier, `is_assigned` if the provisioning service
    named the hub, and not the configuration.
    """

    depends_on_clock = True  # A token has an expiry time.

    def __init__(
        self, host: str, device_id: str, *, before: bool = False, is_assigned: bool = True
    ) -> None:
        page = f"its page in IoT Hub{' or IoT Central' if is_assigned else ''}"
        if before:
            sentence = (
                f"{host} refused the credentials of {device_id}, which it accepted before. Most "
                "likely the device was disabled or deleted, or its key or certificate was "
                f"replaced: look at {page}."
            )
        else:
            where = "on another hub" if is_assigned else "not on this hub"
            sentence = (
                f"{host} refused the credentials of {device_id}: the key or certificate belongs to "
                f"another device, the device is disabled, deleted or {where}, or this machine's "
                f"clock is wrong. Compare the device id and the key with {page}."
            )
        super().__init__(sentence)
        self.host = host
        self.device_id = device_id
        self.is_assigned = is_assigned


class RegistrationError(CloudError):
    """The provisioning service did not assign this device to a hub.

    `is_busy` is true if it failed or had too many requests, rather than refused this device.
    """

    depends_on_clock = True

    def __init__(self, device_id: str, *, said: str, hint: str, is_busy: bool = False) -> None:
        super().__init__(
            f"The provisioning service has not assigned {device_id} to a hub: {phrase(said)}. "
            f"{hint}"
        )
        self.said = said
        self.is_busy = is_busy


class NoAnswerError(CloudError):
    """A request was not answered in time."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(
            f"{what[0].upper()}{what[1:]} was not answered within {seconds:g} s. The network or "
            "the service is slow or failing; if it lasts: sensor-agent check"
        )
        self.seconds = seconds


class TlsError(UnreachableError):
    """TLS with a host failed. `problem` and `advice` are sentences of `tls_faults`."""

    def __init__(self, host: str, problem: str, advice: str, *, depends_on_clock: bool) -> None:
        CloudError.__init__(self, f"{problem} {advice}")
        self.host = host
        self.depends_on_clock = depends_on_clock


class HubUnavailableError(CloudError):
    """The hub accepts connections, and cannot serve them: the fault is the service's."""

    def __init__(self, hub: str, what: str) -> None:
        super().__init__(
            f"{hub} {what}: the service is failing or busy. No change is needed on this device; "
            "if it lasts, see https://azure.status.microsoft/status."
        )


class ServiceRefusedError(CloudError):
    """The hub answered a request with an error, such as 429 for too many requests."""

    def __init__(self, hub: str, what: str, *, said: str, status: int | None = None) -> None:
        answered = f"{hub} answered {what} with status {status}"
        self.status = status
        if self.is_throttling:
            sentence = (
                f"{answered}: the devices of this hub send too many requests, or the hub's daily "
                "quota is used up. The daemon repeats the request later; if it lasts, set a longer "
                "interval in [sensor] or choose a larger tier of IoT Hub."
            )
        elif self.is_fault_of_service:
            sentence = (
                f"{answered}: the service itself failed. The daemon repeats the request later; if "
                "it lasts, see https://azure.status.microsoft/status."
            )
        else:
            sentence = (
                f"{hub} refused {what}: {phrase(said)}. Most likely the device's twin is full (32 "
                "KB) or has a name or value that the hub does not allow: look at it in IoT Hub."
            )
        super().__init__(sentence)

    @property
    def is_throttling(self) -> bool:
        """Whether there were too many requests."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS

    @property
    def is_fault_of_service(self) -> bool:
        """Whether the hub has failed, and has not refused the request."""
        return self.status is not None and self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def for_good(self) -> bool:
        """Whether the request itself is wrong, so that repeating it is of no use."""
        return self.status is not None and 400 <= self.status < 429  # noqa: PLR2004 - HTTP's.


class SessionLostError(CloudError):
    """The connection ended. Messages under way may or may not have arrived."""


class EndedHereError(SessionLostError):
    """The daemon itself ended the connection, for the reason in the sentence."""


class HubClosedError(SessionLostError):
    """The hub, or a device between here and the hub, closed the connection."""

    def __init__(self, hub: str, device_id: str) -> None:
        super().__init__(
            f"{hub} closed the connection, and the daemon reconnects. Possible causes, the "
            "most likely first: the hub was restarted, the network was interrupted, another "
            f"device signs in as {device_id}, the hub's daily quota is used up, {device_id} was "
            "disabled or deleted. If it recurs, look for them in this order."
        )


class TakenOverError(SessionLostError):
    """The hub closes connections repeatedly, as it does if another device has the same id."""

    def __init__(self, hub: str, device_id: str, *, times: int, minutes: float) -> None:
        super().__init__(
            f"{hub} closed a working connection {times} times within {minutes:g} minutes. Most "
            f"likely another device signs in as {device_id} (a copied card, a second daemon): give "
            "each device its own id. If there is no other device, check the network."
        )


class RateExceededError(SessionLostError):
    """The hub closes connections repeatedly while many messages are sent."""

    def __init__(self, hub: str, device_id: str, *, max_rate: float) -> None:
        super().__init__(
            f"{hub} closed the connection repeatedly while messages were sent. Most likely it "
            f"allows fewer messages a second than max_rate = {max_rate:g} in [cloud], so lower it; "
            f"otherwise another device signs in as {device_id}."
        )


class QuotaUsedUpError(SessionLostError):
    """The hub takes connections, but no message, as it does when its daily quota is used up."""

    def __init__(self, hub: str) -> None:
        super().__init__(
            f"{hub} accepts connections, but takes no messages. Most likely its daily quota is "
            "used up: it starts again at 00:00 UTC, and readings are kept until then; if it "
            "recurs, set a longer interval in [sensor] or choose a larger tier of IoT Hub."
        )


class IdleConnectionError(SessionLostError):
    """A connection ended while it was idle, as behind a router that forgets idle connections."""

    def __init__(self, hub: str, keep_alive: int, *, advised: int | None) -> None:
        advice = (
            "the network was interrupted; if it recurs: sensor-agent check"
            if advised is None
            else f"a router ends idle connections: set keep_alive = {advised} in [cloud] (now "
            f"{keep_alive}), and check the network if that does not help."
        )
        super().__init__(f"The connection to {hub} failed while it was idle. Most likely {advice}")


class CertificateUnreadableError(CloudError):
    """This device's certificate or its private key could be used before, and no longer can."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Cannot use x509_cert_file and x509_key_file of [cloud]: {phrase(reason)}. To check "
            "them: sensor-agent config check"
        )


class SdkStuckError(CloudError):
    """The SDK hangs: this process can no longer create or close a client."""


class OutputError(AgentError):
    """Standard output could not be written.

    `reader_is_gone` is true for a pipe whose reader has ended, `terminal_is_gone` for a closed
    terminal.
    """

    def __init__(
        self, reason: str, *, reader_is_gone: bool = False, terminal_is_gone: bool = False
    ) -> None:
        super().__init__(f"Cannot write to standard output: {phrase(reason)}.")
        self.reader_is_gone = reader_is_gone
        self.terminal_is_gone = terminal_is_gone


class ControlError(AgentError):
    """The running daemon could not be reached, or refused a request.

    `sentence` says what happened, `advice` what to do about it, if that is known.
    """

    def __init__(self, sentence: str, advice: str | None = None) -> None:
        super().__init__(sentence if advice is None else f"{sentence} {advice}")
        self.sentence = sentence
        self.advice = advice


class NoDaemonError(ControlError):
    """No daemon is running."""

"""One connection to the hub. Each call has a deadline."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from azure.iot.device import Message as AzureMessage
from azure.iot.device import MethodResponse
from azure.iot.device import exceptions as azure_exceptions

from agent.cloud.message import Message
from agent.cloud.sdk import (
    KEEP_ALIVE_EXPIRED,
    NOT_MQTT,
    SERVER_UNAVAILABLE,
    CloudAccess,
    build,
    close,
    close_quickly,
    hub_client,
    reason,
    sdk_thread,
    tls_error,
    within,
)
from agent.cloud.traffic import Traffic
from agent.errors import (
    CloudError,
    EndedHereError,
    HubClosedError,
    HubUnavailableError,
    NoAnswerError,
    RefusedError,
    ServiceRefusedError,
    SessionLostError,
    UnreachableError,
)
from agent.storage.assignment import Assignment

T = TypeVar("T")

log = logging.getLogger(__name__)

# Seconds for TCP, TLS, websockets, a proxy, CONNACK and subscriptions, whatever keep_alive is. With
# a round trip of 3 s and 3 KB/s they take 20 to 26 s.
CONNECT_DEADLINE = 60.0
ANSWER_DEADLINE = 60.0  # Seconds for each later request. Many may wait in a slow line.
REASON_COMES_WITHIN = 1.0  # Seconds between a failed call and the reason of the disconnection.
RENEWAL_GRACE = CONNECT_DEADLINE  # Seconds for reconnecting when the SAS token is renewed.
LOST = {
    KEEP_ALIVE_EXPIRED: "Most likely the network was interrupted: check the Wi-Fi and the router.",
    NOT_MQTT: "Most likely a proxy or firewall changes what is sent: ask whoever runs the network.",
}
DID_NOT_COME_BACK = (
    "The connection to {} was lost during the hourly renewal of its token, and the daemon "
    "reconnects. If this happens every hour, check the clock: timedatectl"
)
LONGEST_REQUEST_ID = 1000  # Characters. A topic has at most 65,535 bytes.
# The SDK's exceptions for a malformed topic or payload.
CANNOT_READ = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that waits for an answer. `payload` is any JSON value, None if there is none."""

    request_id: str
    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class QueuedCommand:
    """A command that was queued while this device was offline. It takes no answer."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class DesiredPatch:
    """Changed desired properties. `patch` is any JSON value; the hub sends an object."""

    patch: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something from the hub that cannot be used. `reason` says why, in a sentence."""

    reason: str


Event = Command | QueuedCommand | DesiredPatch | Unreadable


class AzureSession:
    """An open connection, made by `open_session`. It does not reconnect.

    Each method raises SessionLostError if the connection has ended, and NoAnswerError after
    ANSWER_DEADLINE seconds. A message or report may arrive even if its call raised.
    """

    def __init__(self, client: Any, assignment: Assignment, events: asyncio.Queue[Event]) -> None:
        self.hub = assignment.hub
        self.device_id = assignment.device_id
        self._client = client
        self._loop = asyncio.get_running_loop()
        self.traffic = Traffic(self._loop.time)
        self._events = events
        self._ended: asyncio.Future[CloudError] = self._loop.create_future()
        self._changed = asyncio.Event()  # Set when the connection changes its state or ends.
        self._grace: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """Connect, and start to receive events. Only `open_session` calls it."""
        handlers = {
            "on_method_request_received": self._on_method,
            "on_twin_desired_properties_patch_received": self._on_desired,
            "on_message_received": self._on_message,
        }
        self._client.on_connection_state_change = self._on_state
        self._client.on_background_exception = self._on_background_exception
        what = f"the connection to {self.hub}"
        end = self._loop.time() + CONNECT_DEADLINE
        accepted = False
        try:
            # Handlers are set before connecting: the hub delivers queued commands at once, and the
            # SDK acknowledges and loses those without a handler. Without a connection the setters
            # raise NoConnectionError, but set the handler. They are called again to subscribe.
            for name, handler in handlers.items():
                with suppress(azure_exceptions.NoConnectionError):
                    await self._set(name, handler, end)
            await within(CONNECT_DEADLINE, what, self._client.connect())
            accepted = True
            for name, handler in handlers.items():
                await self._set(name, handler, end)
        except azure_exceptions.CredentialError as error:
            raise RefusedError(self.hub, self.device_id) from error
        except azure_exceptions.ConnectionFailedError as error:
            if SERVER_UNAVAILABLE in reason(error):
                raise HubUnavailableError(self.hub, "refuses connections for now") from error
            raise UnreachableError(self.hub, reason(error)) from error
        except azure_exceptions.OperationTimeout as error:
            raise NoAnswerError(what, CONNECT_DEADLINE) from error
        except CloudError:
            raise
        except Exception as error:  # The SDK raises errors of any class.
            lost = await self._why_lost(error) if accepted else self._lost(error)
            if isinstance(lost, HubClosedError):
                raise HubUnavailableError(
                    self.hub, "accepted the connection and closed it at once"
                ) from error
            raise lost from error

    async def _set(self, name: str, handler: Callable[..., Any], end: float) -> None:
        """Set a handler. With a connection this subscribes, and waits for the hub until `end`."""
        try:
            await sdk_thread.run(
                lambda: setattr(self._client, name, handler), deadline=end - self._loop.time()
            )
        except TimeoutError:
            raise NoAnswerError("a subscription", CONNECT_DEADLINE) from None

    async def close(self) -> None:
        """Close the connection. Only `open_session` calls it. Raises SdkStuckError."""
        try:
            await close(self._client)
        finally:
            self._end(SessionLostError(f"The session with {self.hub} was closed."))

    async def send(self, message: Message) -> None:
        """Send a message. Returns when the hub has acknowledged it."""
        outgoing = AzureMessage(
            message.body,
            message_id=message.id,
            content_encoding="utf-8",
            content_type="application/json",
        )
        outgoing.custom_properties.update(message.properties)
        await self._call("a message", lambda: self._client.send_message(outgoing), is_message=True)

    async def twin(self) -> Any:
        """Fetch the whole twin: any JSON value, normally {"desired": {...}, "reported": {...}}."""
        return await self._call("the request for the twin", self._client.get_twin)

    async def report(self, patch: dict[str, Any]) -> None:
        """Report properties. Returns when the hub has accepted them."""
        await self._call(
            "a report of properties",
            lambda: self._client.patch_twin_reported_properties(patch),
        )

    async def answer(self, command: Command, status: int, payload: Any) -> None:
        """Answer a command."""
        response = MethodResponse(command.request_id, status, payload)
        await self._call(
            "the answer to a command",
            lambda: self._client.send_method_response(response),
        )

    async def ended(self) -> NoReturn:
        """Wait for the end of the connection, and raise its reason (SessionLostError)."""
        raise await asyncio.shield(self._ended)

    async def _call(
        self, what: str, call: Callable[[], Coroutine[Any, Any, T]], *, is_message: bool = False
    ) -> T:
        # The SDK sends a message that failed over the next connection, under a packet id that it
        # may confuse with another message's. So no call is made without a connection.
        await self._until_connected()
        try:
            with self.traffic.request(is_message=is_message):
                return await within(ANSWER_DEADLINE, what, call())
        except azure_exceptions.ClientError as error:
            cause = error.__cause__
            if isinstance(cause, azure_exceptions.ServiceError):
                status = re.search(r"\b[1-5]\d\d$", str(cause))  # The SDK has no field for it.
                raise ServiceRefusedError(
                    self.hub, what, said=str(cause), status=int(status[0]) if status else None
                ) from error
            raise await self._why_lost(error) from error
        except Exception as error:
            if isinstance(error, CloudError):
                raise
            raise await self._why_lost(error) from error

    async def _until_connected(self) -> None:
        """Wait while the SDK renews its SAS token. Raises if the connection has ended."""
        if self._client.connected and not self._ended.done():
            return
        try:
            async with asyncio.timeout(RENEWAL_GRACE):
                while not self._ended.done() and not self._client.connected:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self._end(EndedHereError(DID_NOT_COME_BACK.format(self.hub)))
        if self._ended.done():
            raise self._ended.result()

    async def _why_lost(self, error: BaseException) -> CloudError:
        """Return why a call failed: the reason of the disconnection, if it arrives in time."""
        await asyncio.wait({self._ended}, timeout=REASON_COMES_WITHIN)
        return self._ended.result() if self._ended.done() else self._lost(error)

    def _lost(self, error: BaseException) -> CloudError:
        text = reason(error)
        advice = LOST.get(text, "The daemon connects again.")
        return SessionLostError(f"The connection to {self.hub} ended: {text}. {advice}")

    def _dropped(self, error: BaseException) -> CloudError:
        if reason(error) in {KEEP_ALIVE_EXPIRED, NOT_MQTT}:
            return self._lost(error)
        if type(error).__name__ != "ConnectionDroppedError":  # A new connection has failed.
            return EndedHereError(DID_NOT_COME_BACK.format(self.hub))
        return HubClosedError(self.hub, self.device_id)

    # These handlers run in the SDK's threads. They are coroutine functions that never wait, because
    # the SDK runs those in order; it runs plain functions in several threads.

    async def _on_method(self, request: Any) -> None:
        if len(request.request_id) > LONGEST_REQUEST_ID:  # The answer's topic would be too long.
            self._hand_over(Unreadable("a command has a request id that is too long"))
            return
        self._hand_over(Command(request.request_id, request.name, request.payload))

    async def _on_desired(self, patch: Any) -> None:
        self._hand_over(DesiredPatch(patch))

    async def _on_message(self, message: Any) -> None:
        name = message.custom_properties.get("method-name")
        if name is None:
            self._hand_over(Unreadable("a cloud-to-device message has no property method-name"))
            return
        self._hand_over(QueuedCommand(name, message.data))

    def _hand_over(self, event: Event) -> None:
        with suppress(RuntimeError):  # The loop is closed: the daemon has stopped.
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def _on_state(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._state_changed)

    async def _on_background_exception(self, error: Exception) -> None:
        log.debug("The SDK reports an exception: %s", reason(error))
        if isinstance(error, CANNOT_READ):
            self._hand_over(Unreadable(f"the SDK cannot read it ({reason(error)})"))
        elif not self._client.connected:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end, self._dropped(error))

    def _state_changed(self) -> None:
        self._changed.set()
        # A renewal of the SAS token reconnects. If the connection is lost, there is a background
        # exception too, which ends the session at once.
        if self._grace is not None:
            self._grace.cancel()
        if not self._client.connected and not self._ended.done():
            self._grace = self._loop.call_later(RENEWAL_GRACE, self._end_if_still_down)

    def _end_if_still_down(self) -> None:
        if not self._client.connected:
            self._end(EndedHereError(DID_NOT_COME_BACK.format(self.hub)))

    def _end(self, error: CloudError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
            self._changed.set()
            if self._grace is not None:
                self._grace.cancel()  # It refers to this session.


async def _connect(session: AzureSession, access: CloudAccess) -> None:
    try:
        await session.connect()
    except RefusedError as error:
        is_assigned = access.cloud.hub is None
        raise RefusedError(error.host, error.device_id, is_assigned=is_assigned) from error
    except CloudError as error:
        tls = await tls_error(access, session.hub, error)
        if tls is None:
            raise
        raise tls from error


@asynccontextmanager
async def open_session(
    access: CloudAccess, assignment: Assignment, events: asyncio.Queue[Event]
) -> AsyncIterator[AzureSession]:
    """Connect to the hub. The session ends with the block, and leaves nothing running.

    `events` receives commands and changes of desired properties in order, even if connecting
    fails: the hub does not send them again. Connecting may take CONNECT_DEADLINE seconds. Raises
    RefusedError, UnreachableError, NoAnswerError, and SdkStuckError if the SDK
    does not create or close a client in time.
    """
    client = await build(lambda: hub_client(access, assignment))
    session = AzureSession(client, assignment, events)
    try:
        await _connect(session, access)
        yield session
    except asyncio.CancelledError:
        await close_quickly(session.close())
        raise
    except BaseException:  # Whatever it was, the SDK's threads must end.
        await session.close()
        raise
    else:
        await session.close()

"""One connection to the hub: what this device says, and what it is told, each under a deadline."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar

from azure.iot.device import Message as AzureMessage
from azure.iot.device import MethodResponse
from azure.iot.device import exceptions as azure_exceptions

from agent.cloud.message import Message
from agent.cloud.sdk import (
    CLOSE_MARGIN,
    KEEP_ALIVE_EXPIRED,
    Assignment,
    build,
    close,
    hub_client,
    in_a_hurry,
    reason,
    sdk_thread,
    within,
)
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig
from agent.errors import (
    CloudError,
    HubClosedError,
    NoAnswerError,
    RefusedError,
    ServiceRefusedError,
    SessionLostError,
    UnreachableError,
)
from agent.logs.events import LogEvent

T = TypeVar("T")

log = logging.getLogger(__name__)

REASON_COMES_WITHIN = 1.0  # Seconds after a call that failed because of it.
RENEWAL_GRACE = 10.0  # Seconds without a connection that a renewal of the SAS token may take.


@dataclass(frozen=True, slots=True)
class Command:
    """A command that waits for an answer. `payload` is whatever JSON came, None for none."""

    request_id: str
    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class QueuedCommand:
    """A command that was queued while this device was away. Nobody waits for an answer."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class DesiredPatch:
    """Desired properties that changed, `$version` among them."""

    patch: dict[str, Any]


Event = Command | QueuedCommand | DesiredPatch


class AzureSession:
    """A connection that has been made. Use `open_session`; nothing here reconnects.

    Every method raises SessionLostError once the connection has ended, and NoAnswerError after
    `deadline` seconds. A message or report that raised may have arrived all the same.
    """

    def __init__(self, client: Any, *, hub: str, device_id: str, deadline: float) -> None:
        self.hub = hub
        self.device_id = device_id
        self.deadline = deadline
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._ended: asyncio.Future[CloudError] = self._loop.create_future()
        self._changed = asyncio.Event()  # The connection's state, or that it has ended.
        self._grace: asyncio.TimerHandle | None = None

    async def next_event(self) -> Event:
        """Wait for the next command or change of desired properties, in the order they came."""
        return await self._events.get()

    async def send(self, message: Message) -> None:
        """Send one message; when this returns, the hub has it."""
        outgoing = AzureMessage(
            message.body,
            message_id=message.id,
            content_encoding="utf-8",
            content_type="application/json",
        )
        outgoing.custom_properties.update(message.properties)
        await self._call("a message", lambda: self._client.send_message(outgoing))

    async def twin(self) -> dict[str, Any]:
        """Fetch the whole twin: {"desired": {...}, "reported": {...}}."""
        twin: dict[str, Any] = await self._call("the request for the twin", self._client.get_twin)
        return twin

    async def report(self, patch: dict[str, Any]) -> None:
        """Report properties; when this returns, the hub has them."""
        await self._call(
            "a report of properties",
            lambda: self._client.patch_twin_reported_properties(patch),
        )

    async def answer(self, command: Command, status: int, payload: Any) -> None:
        """Answer a command."""
        response = MethodResponse(command.request_id, status, payload)
        await self._call(
            f"the answer to {command.name}",
            lambda: self._client.send_method_response(response),
        )

    async def ended(self) -> NoReturn:
        """Wait until the connection has ended, and raise why (SessionLostError)."""
        raise await asyncio.shield(self._ended)

    async def _call(self, what: str, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        # The SDK hands a message that it could not send to the next connection all the same,
        # under an id that it may mistake for another message's. So ask first.
        await self._until_connected()
        try:
            return await within(self.deadline, what, call())
        except azure_exceptions.ClientError as error:
            cause = error.__cause__
            if isinstance(cause, azure_exceptions.ServiceError):
                status = re.search(r"\b[1-5]\d\d$", str(cause))  # It stands nowhere else.
                raise ServiceRefusedError(
                    f"{self.hub} refused {what}: {cause}.",
                    status=int(status[0]) if status else None,
                ) from error
            raise await self._why_lost(error) from error
        except Exception as error:
            if isinstance(error, CloudError):
                raise
            raise await self._why_lost(error) from error

    async def _until_connected(self) -> None:
        """Wait while the SDK renews its SAS token; raise if the connection has ended."""
        try:
            async with asyncio.timeout(RENEWAL_GRACE):
                while not self._ended.done() and not self._client.connected:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self._end(SessionLostError(f"The connection to {self.hub} did not come back."))
        if self._ended.done():
            raise self._ended.result()

    async def _why_lost(self, error: BaseException) -> CloudError:
        """Return why a call failed: what the SDK says of the connection is better than of it."""
        await asyncio.wait({self._ended}, timeout=REASON_COMES_WITHIN)
        return self._ended.result() if self._ended.done() else self._lost(error)

    def _lost(self, error: BaseException) -> CloudError:
        return SessionLostError(f"The connection to {self.hub} ended: {reason(error)}.")

    def _dropped(self, error: BaseException) -> CloudError:
        if reason(error) == KEEP_ALIVE_EXPIRED:
            return self._lost(error)
        return HubClosedError(f"The connection to {self.hub} was closed: {reason(error)}.")

    # What follows runs on the SDK's threads. Coroutine functions that never wait, because the
    # SDK runs those one after the other: plain functions would overtake each other.

    async def _on_method(self, request: Any) -> None:
        self._hand_over(Command(request.request_id, request.name, request.payload))

    async def _on_desired(self, patch: dict[str, Any]) -> None:
        self._hand_over(DesiredPatch(patch))

    async def _on_message(self, message: Any) -> None:
        name = message.custom_properties.get("method-name")
        if name is None:
            log.warning(
                "A cloud-to-device message that is no command was ignored.",
                extra=LogEvent.MESSAGE_IGNORED.about(),
            )
            return
        body = message.data
        self._hand_over(QueuedCommand(name, body.encode() if isinstance(body, str) else body))

    def _hand_over(self, event: Event) -> None:
        with suppress(RuntimeError):  # The loop is closed: the daemon is leaving.
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def _on_state(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._heed_state)

    async def _on_background_exception(self, error: Exception) -> None:
        log.debug("The SDK reports in the background: %s", reason(error))
        if not self._client.connected:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end, self._dropped(error))

    def _heed_state(self) -> None:
        self._changed.set()
        # A renewal of the SAS token disconnects and connects again; a lost connection also
        # brings a background exception, which ends the session at once.
        if self._grace is not None:
            self._grace.cancel()
        if not self._client.connected and not self._ended.done():
            self._grace = self._loop.call_later(RENEWAL_GRACE, self._end_if_still_down)

    def _end_if_still_down(self) -> None:
        if not self._client.connected:
            self._end(SessionLostError(f"The connection to {self.hub} did not come back."))

    def _end(self, error: CloudError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
            self._changed.set()
            if self._grace is not None:
                self._grace.cancel()  # It would keep all that belongs to this session.


@asynccontextmanager
async def open_session(
    assignment: Assignment,
    left_over: Callable[[Event], None],
    *,
    cloud: CloudConfig,
    credentials: Credentials,
    model_id: str,
) -> AsyncIterator[AzureSession]:
    """Connect to the hub; the session ends with the block, and leaves nothing running.

    `left_over` is given what came and was not taken, even if no session came of it: the hub
    counts that as delivered. Each call and the connecting itself may take twice the keep-alive.
    Raises RefusedError, UnreachableError, NoAnswerError, and SdkStuckError when the SDK can
    neither make nor end a client any more.
    """
    hub = assignment.hub
    deadline = 2.0 * cloud.keep_alive
    client = await build(lambda: hub_client(cloud, credentials, assignment, model_id))
    session = AzureSession(client, hub=hub, device_id=assignment.device_id, deadline=deadline)
    end = partial(close, client, cloud.keep_alive + CLOSE_MARGIN)
    try:
        await _connect(session, client, deadline)
        yield session
    except asyncio.CancelledError:
        await in_a_hurry(end())
        raise
    except BaseException:
        await end()
        raise
    else:
        await end()
    finally:
        session._end(SessionLostError(f"The session with {hub} was ended."))  # noqa: SLF001 - this is where a session is made and ended.
        while not session._events.empty():  # noqa: SLF001 - the same.
            left_over(session._events.get_nowait())  # noqa: SLF001 - the same.


async def _connect(session: AzureSession, client: Any, deadline: float) -> None:
    handlers = {
        "on_method_request_received": session._on_method,  # noqa: SLF001 - one job, one file.
        "on_twin_desired_properties_patch_received": session._on_desired,  # noqa: SLF001
        "on_message_received": session._on_message,  # noqa: SLF001
    }
    client.on_connection_state_change = session._on_state  # noqa: SLF001
    client.on_background_exception = session._on_background_exception  # noqa: SLF001
    # In place before connecting: the hub delivers what it kept for us the moment we are there,
    # and the SDK would acknowledge and lose it. Not being connected, the setters complain; the
    # handlers are set all the same. The second time they subscribe.
    for name, handler in handlers.items():
        with suppress(azure_exceptions.NoConnectionError):
            await _set(client, name, handler, deadline)
    what = f"the connection to {session.hub}"
    try:
        await within(deadline, what, client.connect())
        for name, handler in handlers.items():
            await _set(client, name, handler, deadline)
    except azure_exceptions.CredentialError as error:
        raise RefusedError(session.hub, session.device_id) from error
    except azure_exceptions.ConnectionFailedError as error:
        raise UnreachableError(session.hub, reason(error)) from error
    except azure_exceptions.OperationTimeout as error:
        raise NoAnswerError(what, deadline) from error
    except CloudError:
        raise
    except Exception as error:
        raise session._lost(error) from error  # noqa: SLF001


async def _set(client: Any, name: str, handler: Callable[..., Any], deadline: float) -> None:
    """Set a handler; when connected, this subscribes and waits for the hub's consent."""
    try:
        await sdk_thread.run(lambda: setattr(client, name, handler), deadline=deadline)
    except TimeoutError:
        raise NoAnswerError("a subscription", deadline) from None

"""Microsoft's SDK, held at arm's length: clients made and ended, each call under a deadline.

Only the files named azure_* import azure.iot.device. What is here answers the SDK's habits:
calls that wait for ever, clients that live on after a failure, log lines that tell a person
nothing.
"""

import asyncio
import gc
import logging
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

from azure.iot.device import X509, ProxyOptions
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient
from paho.mqtt.client import Client as Paho  # What the SDK stands on; it brings it.

from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig
from agent.deadline_thread import Worker
from agent.errors import NoAnswerError, SdkStuckError, in_words

T = TypeVar("T")

log = logging.getLogger(__name__)

CLOSE_MARGIN = 5.0  # Seconds beyond the keep-alive: a TLS handshake in the dark delays a close.
HURRIED_CLOSE = 2.0  # Seconds to end a session when the daemon is being stopped.
SAS_TOKEN_LIFETIME = 3600  # Seconds; the SDK renews it, and connects anew, 120 s before.
FELL_SILENT = "it took the connection and then said nothing"
MOST_IN_FLIGHT = 100  # Messages; of the 20 that the readings may have, the uplink takes care.
BUILD_DEADLINE = 10.0  # Seconds in which a client must be made; it sends nothing yet.


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where the provisioning service sent this device."""

    hub: str
    device_id: str


def _options(cloud: CloudConfig, credentials: Credentials) -> dict[str, Any]:
    options: dict[str, Any] = {
        "keep_alive": cloud.keep_alive,
        "websockets": cloud.transport == "websockets",
    }
    if credentials.ca is not None:
        options["server_verification_cert"] = credentials.ca
    if cloud.proxy is not None:
        proxy = urlsplit(cloud.proxy)
        options["proxy_options"] = ProxyOptions(
            proxy.scheme.upper(),
            proxy.hostname,
            proxy.port,
            cloud.proxy_user,
            credentials.proxy_password,
        )
    return options


def provisioning_client(cloud: CloudConfig, credentials: Credentials, device_id: str) -> Any:
    options = _options(cloud, credentials)
    where = (cloud.provisioning_host, device_id, cloud.id_scope)
    if credentials.key is not None:
        return ProvisioningDeviceClient.create_from_symmetric_key(
            *where, credentials.key, **options
        )
    return ProvisioningDeviceClient.create_from_x509_certificate(
        *where, _x509(credentials), **options
    )


def hub_client(
    cloud: CloudConfig, credentials: Credentials, assignment: Assignment, model_id: str
) -> Any:
    options = _options(cloud, credentials) | {
        "product_info": model_id,  # There is no argument for the model; this is where it goes.
        "auto_connect": False,
        "connection_retry": False,
        "ensure_desired_properties": False,
    }
    if credentials.key is not None:
        options["sastoken_ttl"] = SAS_TOKEN_LIFETIME
        return IoTHubDeviceClient.create_from_symmetric_key(
            credentials.key, assignment.hub, assignment.device_id, **options
        )
    return IoTHubDeviceClient.create_from_x509_certificate(
        _x509(credentials), assignment.hub, assignment.device_id, **options
    )


def _x509(credentials: Credentials) -> Any:
    return X509(str(credentials.x509_cert_file), str(credentials.x509_key_file))


async def build(make: Callable[[], Any]) -> Any:
    """Make a client; raises SdkStuckError if that takes longer than it can."""
    _enter_in_order()
    # The last client's parts hold each other, and with them its sockets, until they are looked
    # for. On a bad line that would be many before Python looks by itself.
    gc.collect()
    try:
        return await sdk_thread.run(make, deadline=BUILD_DEADLINE)
    except TimeoutError:
        raise SdkStuckError(
            f"The SDK could not make a client within {BUILD_DEADLINE:g} s."
        ) from None


def _enter_in_order() -> None:
    """See to it that calls enter the SDK in the order in which they were made.

    It enters its pipeline from the loop's default executor, where several threads overtake each
    other: messages sent one after the other would arrive shuffled.
    """
    loop = asyncio.get_running_loop()
    if loop not in _ordered:
        loop.set_default_executor(ThreadPoolExecutor(1, thread_name_prefix="azure-calls"))
        _ordered.add(loop)


async def close(client: Any, deadline: float) -> None:
    """End a hub client, whatever state it is in.

    Raises SdkStuckError if it does not end.
    """
    # Not client.shutdown(): it waits, on this very loop and for ever, until its handlers heed an
    # order to end, which a connection lost at that moment throws away. No public way leads to
    # what it is made of. That the connection ends shall throw nothing away.
    pipeline = client._mqtt_pipeline  # noqa: SLF001 - see above.
    pipeline.on_disconnected = None
    await shut_down(pipeline, deadline)
    try:
        await sdk_thread.run(client._handler_manager.stop, deadline=deadline)  # noqa: SLF001
    except TimeoutError:
        raise SdkStuckError(f"The SDK did not end its handlers within {deadline:g} s.") from None


async def in_a_hurry(closing: Coroutine[Any, Any, None]) -> None:
    """End a client because the daemon is being stopped.

    Takes HURRIED_CLOSE seconds at most and raises nothing: the cancellation that led here must
    go on its way, and what is left over ends with the process.
    """
    try:
        async with asyncio.timeout(HURRIED_CLOSE):
            await closing
    except (TimeoutError, SdkStuckError) as error:
        log.debug("The SDK is left to the end of the process: %s", error)


async def shut_down(pipeline: Any, deadline: float) -> None:
    """End a client's connection and threads; raises SdkStuckError if they do not end."""
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()

    def callback(error: Exception | None = None) -> None:
        if error is not None:
            log.debug("The SDK ended a connection with: %s", reason(error))
        loop.call_soon_threadsafe(finished.set)

    try:
        await sdk_thread.run(lambda: pipeline.shutdown(callback), deadline=deadline)
        async with asyncio.timeout(deadline):
            await finished.wait()
    except TimeoutError:
        raise SdkStuckError(f"The SDK did not end a connection within {deadline:g} s.") from None
    except Exception as error:
        # Shut down already; the class that says so is not public.
        if type(error).__name__ != "PipelineNotRunning":
            raise


async def within(deadline: float, what: str, call: Coroutine[Any, Any, T]) -> T:
    """Await an SDK call, but no longer than `deadline` seconds.

    The SDK cannot take a call back. One that is late goes on unheeded; cancelling it would make
    the SDK complain when its answer comes after all.
    """
    task = asyncio.ensure_future(call)
    _unheeded.add(task)
    task.add_done_callback(_forget)
    done, _ = await asyncio.wait({task}, timeout=deadline)
    if not done:
        raise NoAnswerError(what, deadline)
    return task.result()


def _forget(task: "asyncio.Task[Any]") -> None:
    _unheeded.discard(task)
    if not task.cancelled():
        task.exception()


def reason(error: BaseException) -> str:
    """Say the innermost cause of one of the SDK's errors, and what its wording leaves out."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = in_words(error) if isinstance(error, OSError) else str(error).strip().rstrip(".")
    text = text or type(error).__name__
    if "did not communicate in the keepalive interval" in text:
        return FELL_SILENT
    if "certificate is not yet valid" in text or "certificate has expired" in text:
        return f"{text}; is this machine's clock right?"
    if "407: " in text or "SOCKS5 authentication failed" in text:
        return "the proxy does not accept proxy_user and the password in proxy_password_file"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text}; if the server has a CA of its own, name its file as ca_file in [cloud]"
    return text


class _ToDebug(logging.Handler):
    """The SDK's own lines speak of its inside: at debug level, under our name."""

    def emit(self, record: logging.LogRecord) -> None:
        log.debug("%s: %s", record.name, record.getMessage())


def _tame_log(name: str) -> None:
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.addHandler(_ToDebug(logging.WARNING))


def _tell_of_every_loss(transfer: Callable[..., Any]) -> Callable[..., Any]:
    """Let paho see that a connection is lost, whatever the system calls it.

    paho 1.6 understands ConnectionError only. "No route to host", "timed out" and TLS cut short
    end its thread instead, nobody is told, and the SDK waits for a connection that is gone.
    """

    @wraps(transfer)
    def transferring(*arguments: Any) -> Any:
        try:
            return transfer(*arguments)
        except (BlockingIOError, ConnectionError):
            raise
        except OSError as error:
            raise ConnectionAbortedError(*error.args) from error

    return transferring


def _send_at_once(connect: Callable[..., Any]) -> Callable[..., Any]:
    """Let nothing wait for a receipt: no packet (Nagle's algorithm, RFC 896), and no answer.

    A server may hold its receipt back for 40 ms and more (RFC 1122 section 4.2.3.2). And paho has
    20 messages in flight at most: while as many readings are, a command's answer would wait.
    """

    @wraps(connect)
    def connecting(client: Paho) -> Any:
        client.max_inflight_messages_set(MOST_IN_FLIGHT)
        connection = connect(client)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    return connecting


Paho._create_socket_connection = _send_at_once(Paho._create_socket_connection)  # noqa: SLF001 - there is no other way in.
Paho._sock_recv = _tell_of_every_loss(Paho._sock_recv)  # noqa: SLF001 - the same.
Paho._sock_send = _tell_of_every_loss(Paho._sock_send)  # noqa: SLF001 - the same.
_tame_log("azure.iot.device")
_tame_log("paho")
sdk_thread = Worker("azure-sdk")
_unheeded: set["asyncio.Task[Any]"] = set()
_ordered: WeakSet[asyncio.AbstractEventLoop] = WeakSet()

"""Adapter for azure-iot-device: create and close clients, and run each call under a deadline.

It works around the SDK's habits: calls that never return, clients that stay alive after a failure,
and log lines about internals.
"""

import asyncio
import gc
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, WeakSet

from azure.iot.device import X509, ProxyOptions
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

from agent.cloud import paho_client
from agent.cloud.paho_client import PahoClient
from agent.cloud.sdk_import import missing, report_missing
from agent.config.connecting import connect_to, server_of
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig
from agent.deadline_thread import DeadlineThread
from agent.errors import (
    CertificateUnreadableError,
    NoAnswerError,
    SdkStuckError,
    TlsError,
    in_words,
    phrase,
)
from agent.storage.assignment import Assignment
from agent.tls_faults import PATIENCE, explain

T = TypeVar("T")

log = logging.getLogger(__name__)

CLOSE_DEADLINE = 30.0  # Seconds. An attempt to connect ends first: TCP_DEADLINE for two addresses.
CLOSES_IN_ORDER = 1.0  # Seconds. Then the connection is cut: the SDK waits for what hangs.
QUICK_CLOSE = 2.0  # Seconds for closing a session while the daemon stops.
SAS_TOKEN_LIFETIME = 3600  # Seconds. The SDK renews the token, and reconnects, 120 s earlier.
KEEP_ALIVE_EXPIRED = "the server accepted the connection and then stopped answering"
NOT_MQTT = "the server sent data that is not valid MQTT"
SERVER_UNAVAILABLE = "broker unavailable"  # paho's words for CONNACK 3.
BUILD_DEADLINE = 10.0  # Seconds. Creating a client involves no network.
CLOSES_SLOWLY = "closing a connection that is just being lost takes until its deadline"
LOOKS = 15.0  # Seconds to look at a server with which TLS failed.


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudAccess:
    """What one device needs to register, and to connect to its hub."""

    cloud: CloudConfig
    credentials: Credentials
    device_id: str
    model_id: str


def _options(access: CloudAccess) -> dict[str, Any]:
    cloud, credentials = access.cloud, access.credentials
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


def provisioning_client(access: CloudAccess) -> Any:
    id_scope = access.cloud.id_scope
    assert id_scope is not None  # noqa: S101 - AzureHub registers only if no hub is configured.
    where = (access.cloud.provisioning_host, access.device_id, id_scope)
    options, key = _options(access), access.credentials.key
    if key is not None:
        return ProvisioningDeviceClient.create_from_symmetric_key(*where, key, **options)
    x509 = _x509(access.credentials)
    return ProvisioningDeviceClient.create_from_x509_certificate(*where, x509, **options)


def hub_client(access: CloudAccess, assignment: Assignment) -> Any:
    where = (assignment.hub, assignment.device_id)
    options, key = _options(access), access.credentials.key
    options |= {
        "product_info": access.model_id,  # The SDK takes the model id from here only.
        "auto_connect": False,
        "connection_retry": False,
        "ensure_desired_properties": False,
    }
    if key is not None:
        options["sastoken_ttl"] = SAS_TOKEN_LIFETIME
        return IoTHubDeviceClient.create_from_symmetric_key(key, *where, **options)
    x509 = _x509(access.credentials)
    return IoTHubDeviceClient.create_from_x509_certificate(x509, *where, **options)


def _x509(credentials: Credentials) -> Any:
    return X509(str(credentials.x509_cert_file), str(credentials.x509_key_file))


async def build(make: Callable[[], Any]) -> Any:
    """Create a client.

    Raises SdkStuckError after BUILD_DEADLINE seconds, and CertificateUnreadableError.
    """
    # The previous client is a cycle of references, and holds its sockets until it is collected.
    # With an unreliable connection many would accumulate before Python does it by itself.
    gc.collect()
    _prepare(asyncio.get_running_loop())
    for name, consequence in missing.items():
        report_missing(name, consequence)

    def make_it() -> Any:
        before = set(paho_client.clients)
        client = make()
        _mqtt_clients[client] = set(paho_client.clients) - before
        return client

    try:
        return await sdk_thread.run(make_it, deadline=BUILD_DEADLINE)
    except TimeoutError:
        raise SdkStuckError(
            f"The SDK did not create a client within {BUILD_DEADLINE:g} s."
        ) from None
    except OSError as error:  # The SDK reads the certificate for each client.
        raise CertificateUnreadableError(reason(error)) from error


class _InOrder(ThreadPoolExecutor):
    """One thread, in which the SDK's calls enter its pipeline in the order in which they are made.

    The SDK passes each call to its pipeline in the default executor of the running loop. With
    several threads there, calls would overtake each other, and messages arrive out of order.
    """

    def __init__(self) -> None:
        super().__init__(1, thread_name_prefix="azure-calls")

    def shutdown(self, *_: Any, **__: Any) -> None:
        """Do not wait: a call that hangs must not delay the end of the daemon."""
        super().shutdown(wait=False)


def _prepare(loop: asyncio.AbstractEventLoop) -> None:
    """Prepare an event loop for the SDK's coroutines."""
    if loop not in _prepared:
        _prepared.add(loop)
        loop.set_default_executor(_InOrder())
        loop.set_exception_handler(_handle)


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # The SDK has completed a call that nobody waits for any more: `within` has cancelled it, on its
    # way into the pipeline or in it.
    error = context.get("exception")
    of_sdk = type(error).__module__.startswith("azure.")
    if of_sdk or isinstance(error, asyncio.InvalidStateError):
        log.debug("The SDK: %s", context["message"])
    else:
        loop.default_exception_handler(context)


async def close(client: Any) -> None:
    """Close a hub client, whatever state it is in.

    Raises SdkStuckError after CLOSE_DEADLINE seconds.
    """
    # client.shutdown() waits, without a timeout, until its handlers process a stop message. The
    # SDK discards that message if the connection is lost at this moment, so its parts are stopped
    # separately, and on_disconnected is removed to keep the message. The SDK has no public way.
    pipeline = _private(client, "_mqtt_pipeline", CLOSES_SLOWLY)
    handlers = _private(client, "_handler_manager", CLOSES_SLOWLY)
    if pipeline is None or handlers is None:
        with _cutting(client):
            await _shut_down_publicly(client)
        return
    pipeline.on_disconnected = None
    try:
        with _cutting(client):
            await _shut_down(pipeline)
    finally:
        await _stop(handlers)


async def _stop(handlers: Any) -> None:
    try:
        await sdk_thread.run(handlers.stop, deadline=CLOSE_DEADLINE)
    except TimeoutError:
        raise SdkStuckError(
            f"The SDK did not stop its handlers within {CLOSE_DEADLINE:g} s."
        ) from None
    except Exception as error:  # The SDK raises errors of any class.
        raise SdkStuckError(f"The SDK did not stop its handlers: {reason(error)}.") from error


async def _shut_down_publicly(client: Any) -> None:
    try:
        await within(CLOSE_DEADLINE, "the end of the connection", client.shutdown())
    except NoAnswerError:
        raise SdkStuckError(
            f"The SDK did not close a connection within {CLOSE_DEADLINE:g} s."
        ) from None
    except Exception as error:  # The SDK raises errors of any class.
        raise SdkStuckError(f"The SDK did not close a connection: {reason(error)}.") from error


def _private(client: Any, name: str, consequence: str) -> Any:
    """Return an attribute that is not public, None if this version of the SDK does not have it."""
    if not hasattr(client, name):
        report_missing(f"{type(client).__name__}.{name}", consequence)
    return getattr(client, name, None)


async def close_registration(client: Any) -> None:
    """Close a provisioning client. Raises SdkStuckError after CLOSE_DEADLINE seconds."""
    # After a failure the client would reconnect for ever, and disconnect the next client. The SDK
    # has no public way to close it.
    pipeline = _private(client, "_pipeline", "a registration that failed leaves a thread behind")
    with _cutting(client):
        if pipeline is not None:
            await _shut_down(pipeline)


@contextmanager
def _cutting(client: Any) -> Iterator[None]:
    """End the connections of a client after the block, or if that takes CLOSES_IN_ORDER.

    The SDK waits for what hangs: for a proxy, for a handshake, and for a full buffer to be sent.
    Its timers outlive its client, so that one may connect again after hours.
    """
    ours = _mqtt_clients.get(client, set())

    async def cut() -> None:
        while True:  # A socket that is just connecting may need a second time.
            await asyncio.sleep(CLOSES_IN_ORDER)
            _end(ours)

    cutting = asyncio.create_task(cut(), name="cut")
    try:
        yield
    finally:
        cutting.cancel()
        _end(ours)


def _end(clients: Iterable[PahoClient]) -> None:
    for client in clients:
        client.end()


async def close_quickly(closing: Coroutine[Any, Any, None]) -> None:
    """Close a client because the daemon stops.

    Takes at most QUICK_CLOSE seconds and raises nothing, so that the cancellation continues.
    Whatever is still running ends with the process.
    """
    try:
        async with asyncio.timeout(QUICK_CLOSE):
            await closing
    except (TimeoutError, SdkStuckError) as error:
        log.debug("The SDK is still closing its client: %s", error)


async def _shut_down(pipeline: Any) -> None:
    """Close a client's connection and threads. Raises SdkStuckError after CLOSE_DEADLINE."""
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()

    def callback(error: Exception | None = None) -> None:
        if error is not None:
            log.debug("The SDK closed a connection with an error: %s", reason(error))
        loop.call_soon_threadsafe(finished.set)

    try:
        async with asyncio.timeout(CLOSE_DEADLINE):
            await sdk_thread.run(lambda: pipeline.shutdown(callback), deadline=CLOSE_DEADLINE)
            await finished.wait()
    except TimeoutError:
        raise SdkStuckError(
            f"The SDK did not close a connection within {CLOSE_DEADLINE:g} s."
        ) from None
    except Exception as error:
        # It was shut down before. The class of this exception is not public.
        if type(error).__name__ != "PipelineNotRunning":
            raise SdkStuckError(f"The SDK did not close a connection: {reason(error)}.") from error


async def within(deadline: float, what: str, call: Coroutine[Any, Any, T]) -> T:
    """Return the result of an SDK call. Raises NoAnswerError after `deadline` seconds.

    Calls start in the order in which they are made. The SDK itself does not cancel a call: a late
    one continues, and its result is ignored.
    """
    try:
        async with asyncio.timeout(deadline) as timeout:
            return await call
    except TimeoutError:
        if timeout.expired():
            raise NoAnswerError(what, deadline) from None
        raise


async def tls_error(access: CloudAccess, host: str, error: BaseException) -> TlsError | None:
    """Return why TLS with a host failed, if it did. This looks at the server once more."""
    cause = _innermost(error)
    if not isinstance(cause, ssl.SSLError):
        return None
    cloud, password = access.cloud, access.credentials.proxy_password
    server = server_of(host, cloud)

    def connect() -> socket.socket:
        return connect_to(host, server.port, cloud, password=password, timeout=PATIENCE)

    try:
        fault = await _tls_thread.run(lambda: explain(cause, server, connect), deadline=LOOKS)
    except TimeoutError:
        return None
    except Exception as trouble:  # noqa: BLE001 - the explanation must not replace the error.
        log.debug("Cannot look at %s: %s: %s", host, type(trouble).__name__, trouble)
        return None
    assert fault is not None  # noqa: S101 - it is an error of TLS.
    return TlsError(host, fault.problem, fault.advice, depends_on_clock=fault.depends_on_clock)


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def reason(error: BaseException) -> str:
    """Return the innermost cause of one of the SDK's errors, in words without a full stop."""
    error = _innermost(error)
    text = in_words(error) if isinstance(error, OSError) else phrase(error)
    text = text or type(error).__name__
    if "did not communicate in the keepalive interval" in text:
        return KEEP_ALIVE_EXPIRED
    if "network protocol error" in text:
        return NOT_MQTT
    if "407: " in text or "SOCKS5 authentication failed" in text:
        return "the proxy does not accept proxy_user and the password in proxy_password_file"
    return text


class _DebugHandler(logging.Handler):
    """Repeats the SDK's log lines at debug level: they describe its internals."""

    def emit(self, record: logging.LogRecord) -> None:
        log.debug("%s: %s", record.name, record.getMessage())


def _log_at_debug_level(name: str) -> None:
    logger = logging.getLogger(name)
    logger.propagate = False
    # On the logger, not on the handler: the SDK logs four lines for each message at level INFO.
    logger.setLevel(logging.WARNING)
    logger.addHandler(_DebugHandler())


_log_at_debug_level("azure.iot.device")
_log_at_debug_level("paho")
sdk_thread = DeadlineThread("azure-sdk")
_tls_thread = DeadlineThread("tls-look")
_prepared: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
_mqtt_clients: WeakKeyDictionary[Any, set[PahoClient]] = WeakKeyDictionary()

"""Import azure-iot-device, 2.14 or 2.15, without its HTTP client, which this daemon never uses.

The SDK uses HTTP only to upload files and on gateways of IoT Edge. For that it imports `requests`,
which takes 6 MB, and loads the system's certificate authorities a second time for each client.
"""

import logging
import sys
from functools import cache
from types import ModuleType

log = logging.getLogger(__name__)

UNUSED = ("requests", "requests_unixsocket")
missing: dict[str, str] = {}  # The log is not yet set up when the SDK is imported.


@cache
def report_missing(name: str, consequence: str) -> None:
    """Log once that the SDK or its MQTT client lacks a name that is not public, and what follows.

    At debug level: only a developer can do something about it.
    """
    log.debug("The SDK has no %s: %s.", name, consequence)


def import_sdk() -> None:
    """Import the SDK. If that fails without its HTTP client, import it with it."""
    try:
        _import_without_http()
    except (ImportError, AttributeError) as error:
        missing[str(error)] = "its HTTP client is imported, and takes 6 MB"
        for name in [name for name in sys.modules if name.startswith("azure.iot.device")]:
            del sys.modules[name]
        import azure.iot.device.aio  # noqa: F401, PLC0415 - only here.


def _import_without_http() -> None:
    """Import the SDK with empty modules in place of those in UNUSED, and remove these again."""
    stand_ins = {name: ModuleType(name) for name in UNUSED if name not in sys.modules}
    if "requests_unixsocket" in stand_ins:
        # The SDK calls it when it is imported. attr-defined: an empty module has no attributes.
        stand_ins["requests_unixsocket"].monkeypatch = lambda: None  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    try:
        import azure.iot.device.aio  # noqa: F401, PLC0415 - with the empty modules in place.
        from azure.iot.device.common.http_transport import HTTPTransport  # noqa: PLC0415 - the same.
    finally:
        for name in stand_ins:
            del sys.modules[name]
    if not hasattr(HTTPTransport, "_create_http_adapter"):
        raise AttributeError("HTTPTransport._create_http_adapter")
    # SLF001, method-assign: the SDK has no public way.
    HTTPTransport._create_http_adapter = lambda _: None  # type: ignore[method-assign]  # noqa: SLF001


import_sdk()

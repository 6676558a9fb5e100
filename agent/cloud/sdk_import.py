"""Import azure-iot-device without its HTTP client, which this daemon never uses.

The SDK uses HTTP only to upload files and on gateways of IoT Edge. For that it imports `requests`,
which takes 6 MB, and loads the system's certificate authorities a second time for each client.
"""

import sys
from types import ModuleType

UNUSED = ("requests", "requests_unixsocket")


def import_sdk() -> None:
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
    # SLF001, method-assign: the SDK has no public way.
    HTTPTransport._create_http_adapter = lambda _: None  # type: ignore[method-assign]  # noqa: SLF001


import_sdk()

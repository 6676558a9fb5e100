"""The way to IoT Hub: registration, connection, and what is sent and received over it."""

import agent.cloud.sdk_import  # noqa: F401 - before any module of this package imports the SDK.

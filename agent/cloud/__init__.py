"""The way to IoT Hub: registration, connection, and what is sent and received over it."""

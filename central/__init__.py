"""A local IoT Central: provisioning, hub and the operator's console.

For laptops, tests and home networks. It works with any client of Azure IoT Hub over MQTT.
"""

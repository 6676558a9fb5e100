"""IoT Central on this machine: provisioning, hub and operator's console.

For laptops, tests and home networks. It speaks the real protocol, to any client of it.
"""

"""Provisioning, and the hub: connected devices, commands, twins."""

"""Sockets, TLS, MQTT connections, the proxy, and faults to inject."""

"""Sockets, TLS, the proxy, and the faults that can be made there."""

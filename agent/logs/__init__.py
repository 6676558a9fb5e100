"""The log and its events, and the interface to systemd."""

"""The daemon: its start and stop, its control socket, its notices to systemd."""

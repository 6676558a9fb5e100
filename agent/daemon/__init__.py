"""The running daemon: its parts wired together, its control socket, and systemd."""

"""What the daemon keeps over a restart."""

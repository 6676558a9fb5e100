"""What the daemon remembers over a restart."""

"""What could be wrong with this device, and what to do about it."""

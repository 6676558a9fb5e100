"""What central keeps: devices, twins, messages and commands."""

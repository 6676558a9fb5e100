"""What could be wrong with this device, and what to do about it."""

CHECKS_BUDGET = 24.0  # Seconds for all checks in the daemon; its clients wait for 30.

"""LEDs: the contract, and one module for each driver."""

"""`sensor-agent setup`: ask for what the service needs, write it, and start the service."""

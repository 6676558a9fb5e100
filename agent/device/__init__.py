"""The device in the cloud: commands, properties, LED and model."""

"""The device as the operator sees it: commands, properties, LED and model."""

"""The formats of the protocol, without any input or output."""

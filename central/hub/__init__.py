"""The hub: connections of devices, their twins, messages and commands, and provisioning."""

"""The host names of hubs."""


def azure_hub(number: int) -> str:
    """Return the hub of the ID scope with this number, from 0, for clients with Azure's names."""
    return f"central-{number + 1}.azure-devices.net" if number else "central.azure-devices.net"

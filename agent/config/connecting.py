"""Connect to a host of [cloud] by TCP, through the proxy if one is configured."""

import importlib
import socket
from urllib.parse import urlsplit

from agent.config.loader import CloudConfig
from agent.tls_faults import Server

PORTS = {"mqtt": 8883, "websockets": 443}


def connect_to(
    host: str, port: int, cloud: CloudConfig, *, password: str | None, timeout: float
) -> socket.socket:
    """Return a connection. `password` is the proxy's, `timeout` is in seconds. Raises OSError."""
    if cloud.proxy is None:
        return socket.create_connection((host, port), timeout=timeout)
    proxy = urlsplit(cloud.proxy)
    # The SDK's own dependency, which has no type information.
    socks = importlib.import_module("socks")
    kinds = {"http": socks.HTTP, "socks5": socks.SOCKS5}
    connection: socket.socket = socks.create_connection(
        (host, port),
        timeout=timeout,
        proxy_type=kinds[proxy.scheme],
        proxy_addr=proxy.hostname,
        proxy_port=proxy.port,
        proxy_rdns=True,
        proxy_username=cloud.proxy_user,
        proxy_password=password,
    )
    return connection


def server_of(host: str, cloud: CloudConfig) -> Server:
    """Return what a sentence about TLS with a host needs to know of the configuration."""
    return Server(
        host=host,
        port=PORTS[cloud.transport],
        ca_file=cloud.ca_file,
        setting=_setting_of(host, cloud),
    )


def _setting_of(host: str, cloud: CloudConfig) -> str | None:
    """Return where a host's name is configured; None for a hub that was assigned."""
    if host == cloud.hub:
        is_pasted = cloud.connection_string_file is not None
        return "HostName in connection_string_file" if is_pasted else "hub in [cloud]"
    return "provisioning_host in [cloud]" if host == cloud.provisioning_host else None

"""The network: the routes to the provisioning service and the hub, and the registration."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from agent.config.loader import CloudConfig
from agent.config.pasted import DEVICE_STRING
from agent.diagnostics.checks.software import ASK_ROOT, SDK, unreadable, version_of
from agent.diagnostics.examination import Examination
from agent.diagnostics.finding import Finding, Outcome, failed, ok, skipped, warning
from agent.diagnostics.registry import check, find
from agent.diagnostics.route import Route, newest_tls
from agent.diagnostics.service_advice import where_the_log_is
from agent.diagnostics.status_text import place
from agent.errors import AgentError, CloudError, RefusedError, RegistrationError, SecretError
from agent.status import CloudPart

STAGES: dict[str, Callable[[Route], Finding]] = {
    "dns": lambda route: route.dns,
    "tcp": lambda route: route.tcp,
    "tls": lambda route: route.tls,
}


def _route_checks(name: str) -> None:
    for stage, take in STAGES.items():
        register = check(f"{name}-{stage}", needs=("configuration",))
        register(partial(_stage, name, take))


def _stage(name: str, take: Callable[[Route], Finding], examination: Examination) -> Finding:
    routes = examination.routes
    if name not in routes:
        routes[name] = _open_route(name, examination)
    route = routes[name]
    return route if isinstance(route, Finding) else take(route)


def _open_route(name: str, examination: Examination) -> Route | Finding:
    """Return the route, or the finding of its checks if there is none."""
    cloud = examination.config.cloud
    if cloud is None:
        return skipped("there is no [cloud] section")
    if name == "provisioning" and not cloud.id_scope:
        return skipped("the configuration names the hub, so no provisioning service is used")
    host = cloud.provisioning_host if name == "provisioning" else _hub(examination)
    if host is None:
        source = "registration" if cloud.id_scope else "secrets"
        found = examination.findings[source]
        return found if ASK_ROOT in found.line else skipped(f"the hub is not known ({source})")
    # Connecting needs no key, and the user may not be able to read it.
    public = replace(
        cloud,
        connection_string_file=None,
        key_file=None,
        group_key_file=None,
        x509_cert_file=None,
        x509_key_file=None,
    )
    try:
        read = examination.credentials(public)
    except SecretError as error:
        unusable = skipped("ca_file or proxy_password_file cannot be used (secrets)")
        return unreadable(error, examination) or unusable
    route = examination.route(
        name,
        host,
        cloud,
        ca=read.ca,
        password=read.proxy_password,
        newest_tls=newest_tls(version_of(SDK, examination)),
    )
    examination.resources.callback(route.close)
    return route


def _hub(examination: Examination) -> str | None:
    cloud = examination.config.cloud
    if cloud is not None and cloud.id_scope:
        find("registration", examination)
        return examination.hub
    find("secrets", examination)  # The connection string has the hub.
    cloud = examination.config.cloud
    return cloud.hub if cloud is not None else None


_route_checks("provisioning")


@check("registration", deadline=60.0, needs=("configuration", "daemon"))
def registration(examination: Examination) -> Finding:
    """Register with the provisioning service, and keep the hub that it assigns.

    If the configuration names the hub, sign in there.
    """
    if examination.status is not None:
        session = examination.status.cloud
        examination.hub = (session and session.hub) or examination.hub
        return registration_of_daemon(session, root=examination.root)
    cloud = examination.config.cloud
    if cloud is None:
        return skipped("there is no [cloud] section")
    assert examination.register is not None  # noqa: S101 - only the daemon, above, has none.
    first, name = (
        ("provisioning-tls", "provisioning service") if cloud.id_scope else ("hub-tls", "hub")
    )
    if find(first, examination).outcome is not Outcome.OK:
        return skipped(f"the {name} cannot be reached")
    try:
        finding, examination.hub = registration_here(
            examination.register, cloud=cloud, device_id=examination.config.device.id
        )
    except SecretError as error:
        return unreadable(error, examination) or skipped("the secrets cannot be used (secrets)")
    if examination.moved_to is not None:
        moved = f"The device was moved to ID scope {examination.moved_to}, which is in force."
        return replace(finding, details=(*finding.details, moved))
    return finding


def registration_of_daemon(cloud: CloudPart | None, *, root: Path = Path("/")) -> Finding:
    """Judge the running daemon's session by its status: a second session would end the first."""
    if cloud is None:
        return skipped("the running daemon has no [cloud] section")
    if cloud.hub is not None:
        lately = [f"Lately: {cloud.error}"] if cloud.error else []
        return ok(f"The daemon is connected to {cloud.hub}.", *lately, *place(cloud))
    if cloud.error is None:
        again = "Run the check again in a minute."
        return warning("The daemon is connecting.", again, *place(cloud))
    return failed(
        f"The daemon is not connected: {cloud.error}",
        f"The other checks of the network narrow it down. {where_the_log_is(root)}",
        *place(cloud),
    )


def registration_here(
    register: Callable[[], str], *, cloud: CloudConfig, device_id: str
) -> tuple[Finding, str | None]:
    """Ask for this device's hub, or sign in to the configured one; `register` returns it.

    Raises SecretError.
    """
    try:
        hub = register()
    except SecretError:
        raise
    except AgentError as error:
        see = () if isinstance(error, CloudError) else ("packages",)
        return failed(str(error), _advice(error), see=see), None
    if not cloud.id_scope:
        return ok(f"{hub} accepted {device_id}."), hub
    return ok(f"{cloud.provisioning_host} assigned {device_id} to {hub}."), hub


def _advice(error: AgentError) -> str:
    match error:
        case RegistrationError():
            return "Compare id_scope and key with the page of the provisioning service."
        case RefusedError():
            return (
                "Compare hub, device id and key (or certificate) with the device in IoT Hub: "
                f"{DEVICE_STRING}"
            )
        case CloudError():
            return "Run the check again in a minute."
    return (
        "If it happens again, please report it with the file from: sensor-agent check --report FILE"
    )


_route_checks("hub")

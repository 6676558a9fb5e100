"""Registration: ask the provisioning service for this device's hub."""

import ast
import asyncio
import json
import logging
import re
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Self

from azure.iot.device import exceptions as azure_exceptions

from agent.cloud.sdk import (
    KEEP_ALIVE_EXPIRED,
    SERVER_UNAVAILABLE,
    CloudAccess,
    build,
    close_quickly,
    close_registration,
    provisioning_client,
    reason,
    tls_error,
    within,
)
from agent.errors import NoAnswerError, RegistrationError, UnreachableError
from agent.storage.assignment import Assignment

log = logging.getLogger(__name__)

REGISTRATION_DEADLINE = 60.0  # Seconds. The SDK polls the service every 2 s.
LONGEST_PART = 200  # Characters of each part of the service's answer that an error repeats.


async def register(
    access: CloudAccess, *, known: bool = False, deadline: float = REGISTRATION_DEADLINE
) -> Assignment:
    """Ask the provisioning service which hub this device belongs to.

    `known` is true if it has answered that in this ID scope before. Raises UnreachableError,
    NoAnswerError, or RegistrationError with the service's answer. Leaves nothing running.
    """
    host = access.cloud.provisioning_host
    log.debug("Registering with the provisioning service.")
    client = await build(lambda: provisioning_client(access))
    client.provisioning_payload = {"modelId": access.model_id}
    end = partial(close_registration, client)
    with _LoggedAnswer() as answer:
        try:
            result = await within(deadline, f"the registration at {host}", client.register())
        except asyncio.CancelledError:
            await close_quickly(end())
            raise
        except Exception as error:
            await end()
            if (tls := await tls_error(access, host, error)) is not None:
                raise tls from error
            raise _registration_error(error, answer, host, access.device_id, known=known) from error
    await end()
    # Whatever the service sent: no state at all, or values of any type.
    state = result.registration_state
    hub: Any = getattr(state, "assigned_hub", None)
    device_id: Any = getattr(state, "device_id", None)
    try:
        return Assignment(hub, device_id)
    except ValueError as error:
        raise RegistrationError(
            access.device_id, said=f"its answer is not an assignment: {error}", hint=CHECK_HOST
        ) from error


class _LoggedAnswer(logging.Handler):
    """The service's answer, taken from the SDK's debug log: its exceptions do not contain it."""

    LOGGER = logging.getLogger(
        "azure.iot.device.provisioning.pipeline.pipeline_stages_provisioning_mqtt"
    )

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.status: int | None = None
        self.body: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.LOGGER.setLevel(logging.DEBUG)
        self.LOGGER.addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        self.LOGGER.removeHandler(self)
        self.LOGGER.setLevel(logging.NOTSET)

    def emit(self, record: logging.LogRecord) -> None:
        found = re.fullmatch(
            r"Received payload:(b['\"].*) on topic:\$dps/registrations/res/([0-9]{3})/.*",
            record.getMessage(),
            re.DOTALL,
        )
        if found is None:
            return
        self.status, self.body = int(found[2]), {}
        # Not JSON: only the status is known.
        with suppress(ValueError, SyntaxError, RecursionError):
            body = json.loads(ast.literal_eval(found[1]))
            self.body = body if isinstance(body, dict) else {}

    @property
    def is_final(self) -> bool:
        """Whether this is the result. The service answers `assigning` until it has one."""
        return self.status is not None and self.body.get("status") != "assigning"

    def summary(self) -> str:
        """Return the service's reason in one line."""
        state = self.body.get("registrationState")
        state = state if isinstance(state, dict) and state else self.body
        given = [state.get(name) for name in ("errorCode", "errorMessage", "message")]
        parts = [str(part)[:LONGEST_PART] for part in given if isinstance(part, str | int)]
        status = self.body.get("status")
        if isinstance(status, str) and status not in {"assigning", "assigned"}:
            parts.insert(0, f"the device is {status[:LONGEST_PART]}")
        return " ".join(parts) or f"status {self.status}"


def _registration_error(
    error: Exception, answer: _LoggedAnswer, host: str, device_id: str, *, known: bool
) -> Exception:
    if answer.status is not None and answer.is_final:
        # The service's answer explains more than the SDK's exception.
        hint = HINTS.get(answer.status, CHECK_ENROLMENT)
        failed = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return RegistrationError(
            device_id,
            said=answer.summary(),
            hint=HINTS[503] if failed else hint,
            is_busy=failed or answer.status == HTTPStatus.TOO_MANY_REQUESTS,
        )
    match error:
        case NoAnswerError():
            return error
        case azure_exceptions.CredentialError():
            return RegistrationError(device_id, said="it refused the credentials", hint=HINTS[401])
        case azure_exceptions.OperationTimeout():
            return UnreachableError(host, KEEP_ALIVE_EXPIRED)
    if SERVER_UNAVAILABLE in reason(error):
        # A wrong ID scope has the same answer as a service that is busy:
        # https://github.com/Azure/azure-iot-sdk-python/issues/670
        said, hint = "it refused the connection", HINT_BUSY if known else HINT_UNAVAILABLE
        return RegistrationError(device_id, said=said, hint=hint, is_busy=known)
    return UnreachableError(host, reason(error))


HINT_UNAVAILABLE = (
    "Most likely the ID scope does not exist: check id_scope; if it is right, the service is "
    "failing or busy, and the daemon tries again."
)
HINT_BUSY = (
    "Most likely the service is failing or busy, because it knew this ID scope before. The daemon "
    "tries again; if it lasts, check that the ID scope still exists."
)
CHECK_ENROLMENT = (
    "Check the device's enrolment in the provisioning service: it must exist and be enabled, and "
    "so must its group."
)
CHECK_HOST = "Check provisioning_host in [cloud]."
HINTS = {
    401: "Check that the key or certificate belongs to this device, that the device is not "
    "disabled or blocked, and that id_scope and this machine's clock are right (timedatectl).",
    404: "Check that id_scope is right, and that the device or its enrolment group exists.",
    429: "The daemon tries again later. Too many devices register at the same time.",
    503: "The service itself failed. The daemon tries again later; if it lasts, see "
    "https://azure.status.microsoft/status.",
}

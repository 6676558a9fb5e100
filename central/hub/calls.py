"""Calls of commands (direct methods) that wait for the device's answer."""

import asyncio
import secrets
from collections.abc import Callable

from central.errors import NoAnswer, UnknownDevice
from central.records import Command
from central.storage.history import NO_ANSWER
from central.storage.registry import Registry

LARGEST_ID = 0xFFFF  # Azure's C SDK keeps request ids in 16 bits.


class Calls:
    """The calls under way. They outlive the connection over which they were made."""

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._waiting: dict[str, tuple[Command, asyncio.Future[Command]]] = {}
        # After a restart, an answer to an earlier call must not count for a new one.
        self._last_id = secrets.randbelow(LARGEST_ID)

    async def call(self, command: Command, send: Callable[[str], None], seconds: float) -> Command:
        """Send a recorded command with `send(request_id)`, and return it answered.

        Raise NoAnswer after `seconds`, or UnknownDevice if the device is deleted meanwhile.
        """
        request_id = self._next_id()
        answer: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = command, answer
        try:
            send(request_id)
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            await self.record(command, NO_ANSWER)
            raise NoAnswer(command.device_id, command.name, seconds) from None
        finally:
            del self._waiting[request_id]

    def _next_id(self) -> str:
        """Return a request id as IoT Hub makes them: a hexadecimal number of 1 to 4 digits."""
        while True:
            self._last_id = self._last_id % LARGEST_ID + 1
            request_id = f"{self._last_id:x}"
            if request_id not in self._waiting:
                return request_id

    async def answered(
        self, device_id: str, request_id: str, status: int, response: object
    ) -> bool:
        """Take the answer of a device; return False if no call of this device waits for it.

        Returns once the answer is recorded, and so before the device's next packet is handled,
        which may report the completion of a command that it answered with 202.
        """
        command, answer = self._waiting.get(request_id, (None, None))
        if command is None or answer is None or answer.done() or command.device_id != device_id:
            return False
        try:
            changed = await self.record(command, status, response, answered=self._clock())
        except UnknownDevice as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(changed)
        return True

    async def record(
        self,
        command: Command,
        status: int,
        response: object = None,
        *,
        answered: float | None = None,
    ) -> Command:
        """Record how a call ended. Raise UnknownDevice if the device is deleted meanwhile."""
        changed = await self._registry.record_answer(
            command.id, answered=answered, status=status, response=response
        )
        if changed is None:
            raise UnknownDevice(command.device_id)
        return changed

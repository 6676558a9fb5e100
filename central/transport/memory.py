"""Gives memory back to the system after a crowd of clients has left."""

import asyncio
import ctypes
import gc

from central.transport.admission import Admission

CHECKED_EVERY = 2.0  # Seconds.


async def give_memory_back(admission: Admission) -> None:
    """Give memory back whenever there were too many clients and most have left, until cancelled.

    Python and the C library would keep it: the connections leave circles of references, and holes
    between what is still in use. Collecting them takes some 0.1 s of the event loop, which is why
    it is not done at other times.
    """
    displaced = 0
    while True:
        await asyncio.sleep(CHECKED_EVERY)
        if admission.displaced != displaced and not admission.is_crowded:
            displaced = admission.displaced
            gc.collect()
            _trim()


def _trim() -> None:
    # Of the GNU C library only: https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

"""Run a program as a root that obeys file modes, as any other owner does.

    python obey_modes.py PROGRAM [ARGUMENT ...]

It gives up two capabilities instead of changing the user: another user could not run the tests'
interpreter if that is in root's home. A process may always give up its own capabilities, also in
a container that grants few; "no new privileges" keeps the program from regaining them as root.
"""

import ctypes
import os
import sys

PR_SET_NO_NEW_PRIVS = 38  # <linux/prctl.h>
VERSION_3 = 0x20080522  # <linux/capability.h>
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
KEPT = ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH) & 0xFFFFFFFF

libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
data = (ctypes.c_uint32 * 6)()  # Effective, permitted and inheritable, twice.


def checked(status):
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


checked(libc.capget(header, data))
for index in range(3):
    data[index] &= KEPT
checked(libc.capset(header, data))
checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - in place of this one, as `env` does

"""A signed apt repository for tests, with a throwaway key."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def throwaway_key(home: Path, *, created: int):
    """Make a key in a gpg home of its own, which the environment names; yield its fingerprint."""
    home.mkdir(mode=0o700)
    before = os.environ.get("GNUPGHOME")
    os.environ["GNUPGHOME"] = str(home)
    try:
        _gpg(f"--faked-system-time={created}!", "--passphrase", "",
             *("--quick-generate-key", "Throwaway", "ed25519", "sign", "never"))  # fmt: skip
        records = _gpg("--list-secret-keys", "--with-colons").splitlines()
        yield next(line.split(":")[9] for line in records if line.startswith("fpr:"))
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=True)  # Of this home alone.
        if before is None:
            del os.environ["GNUPGHOME"]
        else:
            os.environ["GNUPGHOME"] = before


def _gpg(*arguments):
    return subprocess.run(
        ["gpg", "--batch", "--quiet", *arguments], check=True, capture_output=True, text=True
    ).stdout

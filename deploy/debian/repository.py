"""Make a signed apt repository of the packages in dist/, for any static host.

    python3 deploy/debian/repository.py KEY URL   what `make repo` runs

KEY is the fingerprint of a secret key of gpg's. URL is where the host will serve dist/repository/.
It needs no root. SOURCE_DATE_EPOCH is the time of the repository and of its signature, by default
now. The same packages, key, URL and time give the same bytes.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from build_debs import DIST, PACKAGES
from vendored import ROOT

NAME = "sensor-agent"
BUNDLE = "sensor-agent-apt.tar"  # What a Pi owner unpacks in /etc/apt.
KEYRING = "keyrings/sensor-agent.asc"
# A cache between host and devices may have Packages of one release and InRelease of another. By
# its checksum, apt gets the right one: https://wiki.debian.org/DebianRepository/Format
BY_HASH = "by-hash/SHA256"
# A constant: the checksum of the bundle must not change with a release. tar doubts a time of 0.
BUNDLE_TIME = 946684800

GPG = ("gpg", "--batch", "--quiet", "--digest-algo=SHA512")
EXPORT = ("--armor", "--export-options=export-minimal", "--export")
FIELDS = ("dpkg-deb", "--field")


def main() -> None:
    if len(sys.argv[1:]) != len(("KEY", "URL")) or "" in sys.argv:
        sys.exit("usage: make repo KEY=FINGERPRINT URL=https://packages.example.org/")
    key, url = sys.argv[1:]
    for program, package in (("gpg", "gpg"), ("dpkg-deb", "dpkg")):
        if shutil.which(program) is None:
            sys.exit(f"make repo needs {program}: sudo apt install {package}")
    names = {package.name for package in PACKAGES}
    debs = sorted(file for name in names for file in DIST.glob(f"{name}_*.deb"))
    if not debs:
        sys.exit("There are no packages in dist/. Build them first: make deb")
    when = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    place = DIST / "repository"
    try:
        write_repository(place, debs, key=key, url=url, when=when)
    except ValueError as error:
        sys.exit(str(error))
    print(f"Packages in {place.relative_to(ROOT)}: {len(debs)}. Publish the directory as {url}")
    print(f"On a Raspberry Pi, type these lines:\n\n{install_lines(place, url)}", end="")


def write_repository(place: Path, debs: Iterable[Path], *, key: str, url: str, when: int) -> None:
    """Write a repository of `debs` in the directory `place`, in place of what is there.

    `key` is the fingerprint of a secret key of gpg's, `url` is where the repository will be served,
    and `when` is its time in seconds since 1970. Raises ValueError, with advice, for a key or a URL
    that cannot be used; `place` is unchanged then.
    """
    if not re.fullmatch("[0-9A-Fa-f]{40}", key):  # An address may fit somebody else's key, too.
        raise ValueError(
            f'"{key}" is not the fingerprint of a key, which has 40 hexadecimal digits. '
            "To see those of the keys that can sign: gpg --list-secret-keys"
        )
    address = urlsplit(url)
    if address.scheme not in {"http", "https"} or not address.hostname or not url.endswith("/"):
        raise ValueError(
            f'"{url}" is not the address of a directory. '
            "Set URL to one like https://packages.example.org/pi/, with the slash at its end."
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as directory:
        made = Path(directory, "repository")
        made.mkdir()
        stanzas = []
        for deb in debs:
            shutil.copyfile(deb, made / deb.name)
            stanzas.append(_stanza(deb))
        packages = "\n".join(stanzas).encode()
        checksum = hashlib.sha256(packages).hexdigest()
        (made / BY_HASH).mkdir(parents=True)
        for name in ("Packages", f"{BY_HASH}/{checksum}"):
            (made / name).write_bytes(packages)
        release = _release(f"{checksum} {len(packages)} Packages", when)
        (made / "InRelease").write_bytes(_gpg(key, "--clearsign", text=release, when=when))
        public = _gpg(key, *EXPORT, key)
        (made / BUNDLE).write_bytes(bundle(public, url))
        for file in (made, *made.rglob("*")):
            file.chmod(0o755 if file.is_dir() else 0o644)
            os.utime(file, (when, when))  # A host tells apt by it whether a file is newer.
        if place.exists():
            shutil.rmtree(place)
        made.rename(place)


def install_lines(place: Path, url: str) -> str:
    """Return the three lines that a Pi owner types to install from a repository."""
    checksum = hashlib.sha256((place / BUNDLE).read_bytes()).hexdigest()
    return (
        f"wget {url}{BUNDLE}\n"
        f"echo '{checksum}  {BUNDLE}' | sha256sum -c && sudo tar -xf {BUNDLE} -C /etc/apt\n"
        f"sudo apt-get update && sudo apt-get install {NAME}\n"
    )


def _stanza(deb: Path) -> str:
    """Return what the list of packages says of one."""
    control = subprocess.run([*FIELDS, deb], check=True, capture_output=True, text=True).stdout
    content = deb.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    return f"{control.rstrip()}\nFilename: ./{deb.name}\nSize: {len(content)}\nSHA256: {checksum}\n"


def _release(entry: str, when: int) -> bytes:
    """Return what is signed. It never expires: a repository that is left alone stays usable."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime(when))
    return (
        f"Origin: {NAME}\nLabel: {NAME}\nSuite: stable\nDate: {date}\n"
        "Architectures: all amd64 arm64 armhf\nAcquire-By-Hash: yes\n"
        f"SHA256:\n {entry}\n"
    ).encode()


def bundle(public: bytes, url: str) -> bytes:
    """Return a tar file of the key, the source and the pins, as they are in /etc/apt.

    The pins go by the host, because the repository itself says what its origin is.
    """
    host = f'Pin: origin "{urlsplit(url).hostname}"'
    ours = " ".join(sorted({package.name for package in PACKAGES}))
    files = {
        KEYRING: public,
        "preferences.d/sensor-agent.pref": (
            f"Package: *\n{host}\nPin-Priority: -1\n\nPackage: {ours}\n{host}\nPin-Priority: 500\n"
        ).encode(),
        "sources.list.d/sensor-agent.sources": (
            f"Types: deb\nURIs: {url}\nSuites: ./\nSigned-By: /etc/apt/{KEYRING}\n"
        ).encode(),
    }
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), BUNDLE_TIME
            entry.uname = entry.gname = "root"
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _gpg(key: str, *arguments: str, text: bytes = b"", when: int | None = None) -> bytes:
    """Return what gpg writes. `when` is the time of a signature."""
    at = [] if when is None else [f"--faked-system-time={when}!"]
    done = subprocess.run(
        [*GPG, f"--local-user={key}", *at, *arguments],
        input=text, capture_output=True, check=False,
    )  # fmt: skip
    # gpg exports nothing, and reports success, if it has no such key.
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(
            f'gpg cannot sign with "{key}": {said[-1] if said else "it has no such key"}. '
            "To see which keys can sign: gpg --list-secret-keys"
        )
    return done.stdout


if __name__ == "__main__":
    main()

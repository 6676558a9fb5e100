"""The pure-Python packages inside the Debian packages: fetched by hash, and unpacked.

packages.lock has their versions, which are those of constraints.txt, and the hash of the one file
that is used of each: a wheel for every Python or, for FROM_SOURCE, the source distribution. CACHE
keeps what was fetched and built. It is checked each time it is used.
"""

import email.parser
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path, PurePosixPath

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOCK = HERE / "packages.lock"
CACHE = ROOT / "build" / "debian"
BUILT = "built.sha256"  # In a directory of the cache: the hashes of the wheels built there.

BUILD_TOOL = "setuptools"  # Builds the next ones. It is in no package.
FROM_SOURCE = ("aiohttp", "paho-mqtt")  # No index has wheels of theirs for every Python.
WITHOUT_EXTENSIONS = {"AIOHTTP_NO_EXTENSIONS": "1"}

FOR_EVERY_PYTHON = (
    *("--only-binary=:all:", "--platform=any", "--abi=none", "--implementation=py"),
    "--python-version=3.11",
)
UNUSED = {".c", ".h", ".pxd", ".pxi", ".pyi", ".pyx", ".typed"}
"""Sources of extensions that are not built, and types for checkers."""
LICENCE = re.compile(r".*(LICEN[CS]E|NOTICE|COPYING).*", re.IGNORECASE)
METADATA = {"METADATA", "entry_points.txt"}
"""What is used of a package's metadata, besides its licence."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A package in packages.lock. `name` is normalised as in PEP 503."""

    name: str
    version: str
    sha256: str

    @property
    def hashed(self) -> str:
        """Return which file of the package has the hash."""
        return "source distribution" if self.name in FROM_SOURCE else "wheel"

    @property
    def line(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Vendored:
    """An unpacked package: its metadata, and its files by their path below the vendor directory."""

    locked: Locked
    metadata: Message
    files: dict[str, bytes]

    @property
    def licence(self) -> str:
        """The licence, in the words of the package."""
        for field in ("License-Expression", "License"):
            if text := self.metadata.get(field):
                return str(text)
        raise ValueError(f"{self.locked.name} does not say its licence")

    @property
    def licence_files(self) -> list[str]:
        return [name for name in self.files if LICENCE.fullmatch(PurePosixPath(name).name)]


def locked() -> dict[str, Locked]:
    """Return the content of packages.lock, by name."""
    found = {}
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            requirement, digest = line.split(" --hash=sha256:")
            name, version = requirement.split("==")
            found[name] = Locked(name, version, digest)
    return found


def vendored(names: Iterable[str]) -> list[Vendored]:
    """Return these packages, unpacked."""
    lock, wheels = locked(), _wheels()
    return [_unpacked(lock[name], wheels[name]) for name in names]


def write_lock(names: Iterable[str]) -> None:
    """Write packages.lock for these packages, with the versions of constraints.txt."""
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    versions = dict(line.split("==") for line in constraints if "==" in line)
    pins = {normalised(name): f"{name}=={version}" for name, version in versions.items()}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        python = _environment(place / "venv")
        _pip(python, "download", [BUILD_TOOL], *FOR_EVERY_PYTHON, f"--dest={place}")
        [tool] = place.glob("*.whl")
        _pip(python, "install", [_lock(tool).line])
        wanted = [pins[name] for name in names if name not in FROM_SOURCE]
        _pip(python, "download", wanted, *FOR_EVERY_PYTHON, f"--dest={place}")
        _pip(
            python,
            "download",
            [pins[name] for name in FROM_SOURCE],
            "--no-binary=:all:",
            "--no-build-isolation",
            f"--dest={place}",
        )
        files = [*place.glob("*.whl"), *place.glob("*.tar.gz")]
        lines = sorted(_lock(path).line for path in files)
    LOCK.write_text(
        "# What the Debian packages bring, with the versions of constraints.txt: `make deb-lock`.\n"
        + "".join(f"{line}\n" for line in lines),
        encoding="utf-8",
    )


def normalised(name: str) -> str:
    """Return the name of a package as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _wheels() -> dict[str, bytes]:
    """Return the wheel of each locked package, by name. They are fetched once for each lock."""
    place = CACHE / f"wheels-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as unfinished:
            _fetch(Path(unfinished, "wheels"), _environment(Path(unfinished, "venv")))
            try:
                Path(unfinished, "wheels").rename(place)
            except OSError:
                if not place.exists():  # Else another process was faster.
                    raise
    return _verified(place)


def _verified(place: Path) -> dict[str, bytes]:
    """Return the wheels in `place` by the names of their packages. Exits if one is not as fetched.

    Those that were built here have no hash in the lock: BUILT has theirs.
    """
    lock, built = locked(), (place / BUILT).read_text(encoding="ascii").split()
    found = {}
    for path in sorted(place.glob("*-none-any.whl")):
        content = path.read_bytes()
        one = _lock(path, content)
        if one.sha256 not in (built if one.name in FROM_SOURCE else [lock[one.name].sha256]):
            sys.exit(f"{path} has changed since it was fetched. Remove {place}, and try again.")
        found[one.name] = content
    if missing := lock.keys() - found.keys() - {BUILD_TOOL}:
        sys.exit(f"{place} has no wheel for every Python of: {', '.join(sorted(missing))}.")
    return found


def _fetch(place: Path, python: Path) -> None:
    """Put the wheels of all locked packages into `place`."""
    lock = locked()
    pure = [one.line for name, one in lock.items() if name not in {BUILD_TOOL, *FROM_SOURCE}]
    _pip(python, "install", [lock[BUILD_TOOL].line])
    _pip(python, "download", pure, *FOR_EVERY_PYTHON, f"--dest={place}")
    # Without the cache, which may have a wheel with extensions.
    _pip(
        python,
        "wheel",
        [lock[name].line for name in FROM_SOURCE],
        "--no-cache-dir",
        "--no-binary=:all:",
        "--no-build-isolation",
        f"--wheel-dir={place}",
    )
    built = [_lock(path) for path in place.glob("*-none-any.whl")]
    hashes = [one.sha256 for one in built if one.name in FROM_SOURCE]
    (place / BUILT).write_text("".join(f"{digest}\n" for digest in hashes), encoding="ascii")


def _environment(directory: Path) -> Path:
    """Make a virtual environment with pip, and return its Python."""
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian has it in a package of its own.
    except ImportError:
        sys.exit("make deb needs Python's ensurepip. To install it: sudo apt install python3-venv")
    venv.create(directory, with_pip=True)
    return directory / "bin" / "python"


def _pip(python: Path, command: str, requirements: Iterable[str], *options: str) -> None:
    """Run pip for exactly these requirements. If they have hashes, others are refused."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{line}\n" for line in requirements)
        file.flush()
        done = subprocess.run(
            [python, "-I", ROOT / "deploy" / "run_pip.py", command, "--quiet", "--no-deps",
             *options, f"--requirement={file.name}"],
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            | WITHOUT_EXTENSIONS,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        sys.exit(f"pip {command} failed:\n{done.stdout}{done.stderr}")


def _lock(file: Path, content: bytes | None = None) -> Locked:
    """Return what identifies a wheel or a source distribution, by default as it is on disk."""
    if file.suffix == ".whl":
        name, version, *_ = file.name.split("-")
    else:
        name, version = file.name.removesuffix(".tar.gz").rsplit("-", 1)
    content = file.read_bytes() if content is None else content
    return Locked(normalised(name), version, hashlib.sha256(content).hexdigest())


def _unpacked(locked: Locked, wheel: bytes) -> Vendored:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        names = [name for name in archive.namelist() if _is_used(PurePosixPath(name))]
        files = {name: archive.read(name) for name in names}
    [metadata] = (name for name in files if name.endswith(".dist-info/METADATA"))
    parsed = email.parser.BytesParser().parsebytes(files[metadata], headersonly=True)
    return Vendored(locked, parsed, files)


def _is_used(path: PurePosixPath) -> bool:
    if path.parts[0].endswith(".dist-info"):
        return path.name in METADATA or LICENCE.fullmatch(path.name) is not None
    return path.suffix not in UNUSED and "tests" not in path.parts

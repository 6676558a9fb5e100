"""Build the Debian packages in dist/: the same bytes each time.

    python3 deploy/debian/build_debs.py          what `make deb` runs
    python3 deploy/debian/build_debs.py --lock   what `make deb-lock` runs: see vendored.py

It needs no root. SOURCE_DATE_EPOCH is the time of the files, by default that of the last commit.
"""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sbom import bill
from vendored import ROOT, Vendored, vendored, write_lock

HERE = Path(__file__).parent
DIST = ROOT / "dist"
TREE = "usr/lib/sensor-agent"
SYSTEMD = "usr/lib/systemd"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
HELPERS = "adafruit_blinka/microcontroller/"  # Blinka's programs for the ARM boards it knows.
PI_HELPER = f"{HELPERS}bcm283x/pulseio/"
NAMESPACES = ("azure", "azure/iot")
# One thread: with several, xz's output depends on the machine.
DPKG_DEB = ("dpkg-deb", "--root-owner-group", "-Zxz", "--threads-max=1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A Debian package. Its control file and its own scripts are in the directory of its name."""

    name: str
    architecture: str = "all"
    ours: tuple[str, ...] = ()  # Python packages of this project.
    vendor: str  # The directory for others' packages, and their names.
    vendored: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)  # Installed path: path in deploy/.
    helper: str = ""  # The program of Blinka for this architecture.


PACKAGES = (
    Package(
        name="sensor-agent",
        ours=("agent", "hw"),
        vendor="vendor",
        vendored=(
            *("azure-iot-device", "deprecation", "packaging", "paho-mqtt", "requests", "certifi"),
            *("charset-normalizer", "idna", "urllib3", "requests-unixsocket2", "janus", "pysocks"),
            *("typing-extensions", "gpiozero", "colorzero"),
        ),
        files={
            f"{TREE}/launch": "debian/launch",
            f"{TREE}/boot_lines.py": "debian/boot_lines.py",
            f"{TREE}/upgrade.py": "debian/upgrade.py",
            f"{SYSTEMD}/system/sensor-agent.service": "sensor-agent.service",
            f"{SYSTEMD}/catalog/sensor-agent.catalog": "sensor-agent.catalog",
            "usr/lib/udev/rules.d/60-sensor-agent.rules": "60-sensor-agent.rules",
            "usr/lib/sysusers.d/sensor-agent.conf": "debian/sensor-agent/sysusers",
            "usr/share/python3/runtime.d/sensor-agent.rtupdate": "debian/sensor-agent/rtupdate",
            "usr/share/sensor-agent/adafruit.conf": "adafruit.conf",
            "usr/share/sensor-agent/clock.conf": "clock.conf",
        },
    ),
    Package(
        name="sensor-agent-central",
        ours=("central",),
        vendor="vendor-central",
        vendored=(
            *("aiohttp", "aiohappyeyeballs", "aiosignal", "attrs", "frozenlist", "multidict"),
            *("propcache", "yarl", "wsproto", "h11"),
        ),
        files={
            f"{SYSTEMD}/system/sensor-agent-central.service": "sensor-agent-central.service",
            "usr/lib/sysusers.d/sensor-agent-central.conf": "debian/sensor-agent-central/sysusers",
        },
    ),
    *(
        Package(
            name="sensor-agent-adafruit",
            architecture=architecture,
            vendor="vendor-adafruit",
            vendored=(
                *("adafruit-blinka", "adafruit-circuitpython-dht", "adafruit-platformdetect"),
                *("adafruit-pureio", "adafruit-circuitpython-typing"),
            ),
            helper=PI_HELPER + helper,
        )
        for architecture, helper in (("arm64", "libgpiod_pulsein64"), ("armhf", "libgpiod_pulsein"))
    ),
)


def main() -> None:
    if sys.argv[1:] == ["--lock"]:
        write_lock({name for package in PACKAGES for name in package.vendored})
        return
    if shutil.which("dpkg-deb") is None:
        sys.exit("make deb needs dpkg-deb, which Debian and systems derived from it have.")
    DIST.mkdir(exist_ok=True)
    for package in PACKAGES:
        file = build(package, DIST)
        print(f"{file.relative_to(ROOT)}  {file.stat().st_size / 1e6:.1f} MB")
    sbom = DIST / f"sensor-agent_{version()}.cdx.json"
    sbom.write_text(
        bill(version(), {package.name: vendored(package.vendored) for package in PACKAGES}),
        encoding="utf-8",
    )
    print(sbom.relative_to(ROOT))


def build(package: Package, directory: Path) -> Path:
    """Build a package in `directory`, and return its file."""
    brought = vendored(package.vendored)
    files = _files(package, brought)
    deb = directory / f"{package.name}_{version()}_{package.architecture}.deb"
    with tempfile.TemporaryDirectory() as stage:
        for name, content in files.items():
            _write(Path(stage, name), content)
        if package.name == "sensor-agent":
            Path(stage, "usr/bin").mkdir(mode=0o755)
            Path(stage, "usr/bin/sensor-agent").symlink_to("../lib/sensor-agent/launch")
        for name, content in _control(package, files).items():
            _write(Path(stage, "DEBIAN", name), content)
        for path in Path(stage).rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or _is_program(path, stage) else 0o644)
        Path(stage).chmod(0o755)
        subprocess.run(
            [*DPKG_DEB, "--build", stage, str(deb)],
            check=True, stdout=subprocess.DEVNULL,
            env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch())},
        )  # fmt: skip
    return deb


def version() -> str:
    """Return the version of this project, for Debian."""
    text = (ROOT / "agent" / "__init__.py").read_text(encoding="utf-8")
    [found] = re.findall(r'__version__ = "(.*)"', text)
    return debian_version(found)


def debian_version(version: str) -> str:
    """Return a version of Python's as one of Debian's, which sorts 1.0~rc1 before 1.0."""
    return re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", version)


def epoch() -> int:
    """Return the time of all files, in seconds since 1970."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    git = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        return int(subprocess.run(git, check=True, capture_output=True, text=True).stdout)
    except (OSError, subprocess.CalledProcessError):  # Not a clone, but for example an archive.
        return int((ROOT / "agent" / "__init__.py").stat().st_mtime)


def _files(package: Package, brought: Iterable[Vendored]) -> dict[str, bytes]:
    """Return the content of a package's files by their paths."""
    files = {path: (ROOT / "deploy" / name).read_bytes() for path, name in package.files.items()}
    for name in package.ours:
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                files[f"{TREE}/{path.relative_to(ROOT)}"] = path.read_bytes()
    vendor = f"{TREE}/{package.vendor}"
    for one in brought:
        files |= {
            f"{vendor}/{name}": content
            for name, content in one.files.items()
            if not _is_helper(name) or name == package.helper
        }
    if "azure-iot-device" in package.vendored:
        # A regular package of this name anywhere on the path would hide a namespace package.
        files |= {f"{vendor}/{name}/__init__.py": b"" for name in NAMESPACES}
    if package.name == "sensor-agent":
        files |= _manual()
    share = f"usr/share/doc/{package.name}"
    files[f"{share}/copyright"] = _copyright(vendor, brought).encode()
    files[f"{share}/changelog.gz"] = gzip.compress(_changelog(package).encode(), mtime=0)
    overrides = HERE / package.name / "lintian-overrides"
    if overrides.exists():
        files[f"usr/share/lintian/overrides/{package.name}"] = overrides.read_bytes()
    return dict(sorted(files.items()))


def _manual() -> dict[str, bytes]:
    """Return the man page and the shells' completions by their paths."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            [sys.executable, "-I", "-B", str(ROOT / "deploy" / "manual.py"), directory],
            check=True,
            env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch()), "COLUMNS": "80"},
        )
        place = Path(directory)
        written = [path for path in place.rglob("*") if path.is_file()]
        files = {f"usr/{path.relative_to(place)}": path.read_bytes() for path in written}
    [page] = (name for name in files if "/man/" in name)
    files[f"{page}.gz"] = gzip.compress(files.pop(page), mtime=0)
    return files


def _is_helper(name: str) -> bool:
    return name.startswith(HELPERS) and "/libgpiod_pulsein" in name


def _is_program(path: Path, stage: str) -> bool:
    name = str(path.relative_to(stage))
    return (
        name in {f"{TREE}/launch", f"{TREE}/upgrade.py"}
        or name.endswith(".rtupdate")
        or name.removeprefix("DEBIAN/") in SCRIPTS
        or "/libgpiod_pulsein" in name
    )


def _control(package: Package, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files for dpkg: the description of the package, its scripts, and checksums."""
    values = {"@VERSION@": version(), "@ARCHITECTURE@": package.architecture}
    found = {}
    for name in ("control", *SCRIPTS):
        path = HERE / package.name / name
        if name == "preinst":  # The packages have it in common.
            path = HERE / name
        if path.exists():
            text = path.read_text(encoding="utf-8")
            for placeholder, value in values.items():
                text = text.replace(placeholder, value)
            found[name] = text
    kilobytes = sum(-(-len(content) // 1024) for content in files.values())
    found["control"] = found["control"].replace(
        "Priority:", f"Installed-Size: {kilobytes}\nPriority:"
    )
    found["md5sums"] = "".join(
        f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}  {name}\n"
        for name, content in files.items()
    )
    return {name: text.encode() for name, text in found.items()}


def _changelog(package: Package) -> str:
    when = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(epoch()))
    return (
        f"{package.name} ({version()}) unstable; urgency=medium\n\n"
        "  * What has changed is in the project's CHANGELOG.md.\n\n"
        f" -- The sensor-agent authors <sensor-agent@example.org>  {when}\n"
    )


def _copyright(vendor: str, brought: Iterable[Vendored]) -> str:
    """Return the licences: ours, and where those of the vendored packages are."""
    parts = [
        "sensor-agent\n\n" + (ROOT / "LICENSE").read_text(encoding="utf-8"),
        f"The packages in /{vendor} come from the Python Package Index. Their licences:\n",
    ]
    for one in brought:
        lines = [f"{one.metadata['Name']} {one.locked.version}: {one.licence}"]
        lines += [f"  /{vendor}/{name}" for name in one.licence_files]
        parts.append("\n".join(lines) + "\n")
    if any(one.locked.name == "paho-mqtt" for one in brought):
        parts.append(
            "paho-mqtt is used under the Eclipse Distribution License:\n\n"
            + (HERE / "edl-v10.txt").read_text(encoding="utf-8")
        )
    parts.append(
        "On Debian the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0, and the\n"
        "Mozilla Public License 2.0 in /usr/share/common-licenses/MPL-2.0.\n"
    )
    return "\n".join(parts)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    main()

"""deploy/venv.sh with hostile surroundings, and without a network."""

import os
import shutil
import subprocess
import sys

import pytest
import scripts
from scripts import write_program
from stand_in_project import project, sh, surroundings, wheels

HOSTILE = """\
[global]
user = true
quiet = 3
index-url = http://127.0.0.1:9/simple
find-links = {wheels}
no-index = true
[install]
target = {elsewhere}
prefix = {elsewhere}
root = {elsewhere}
no-deps = true
require-virtualenv = true
dry-run = true
constraint = /nowhere
requirement = /nowhere
"""
VARIABLES = {
    "PIP_TARGET": "{elsewhere}",
    "PIP_USER": "1",
    "PIP_NO_DEPS": "1",
    "PIP_DRY_RUN": "1",
    "PYTHONPATH": "{elsewhere}",
    "PYTHONHOME": "{elsewhere}",
    "PYTHONUSERBASE": "{elsewhere}",
    "PYTHONSTARTUP": "{elsewhere}/start.py",
    "VIRTUAL_ENV": "{elsewhere}",
}


@pytest.fixture(scope="module")
def empty_venv(tmp_path_factory):
    """A virtual environment to copy: creating one takes several seconds."""
    venv = tmp_path_factory.mktemp("template") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=100)
    return venv


@pytest.fixture
def place(tmp_path, empty_venv):
    """A copy of the project with an empty environment, in a path as people have them."""
    directory = project(tmp_path / "Jürgens Geräte (neu)" / "sensor-agent-main")
    shutil.copytree(empty_venv, directory / ".venv", symlinks=True)
    wheels(tmp_path / "wheels")
    (tmp_path / "home").mkdir()
    return directory


def settings_file(tmp_path, way):
    return {
        "HOME": tmp_path / "home" / ".config" / "pip" / "pip.conf",
        "XDG_CONFIG_HOME": tmp_path / "config" / "pip" / "pip.conf",
        "PIP_CONFIG_FILE": tmp_path / "pip.conf",
    }[way]


@pytest.fixture(params=["HOME", "XDG_CONFIG_HOME", "PIP_CONFIG_FILE"])
def hostile(request, tmp_path):
    """Surroundings that would install elsewhere; only their find-links has what is needed."""
    values = {"wheels": tmp_path / "wheels", "elsewhere": tmp_path / "elsewhere"}
    file = settings_file(tmp_path, request.param)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HOSTILE.format(**values))
    ways = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "PIP_CONFIG_FILE": str(file)}
    way = {name: value for name, value in ways.items() if name == request.param}
    variables = {name: text.format(**values) for name, text in VARIABLES.items()}
    return surroundings(tmp_path / "home", **variables, **way)


def says_version(command):
    done = subprocess.run([command, "--version"], capture_output=True, check=True, timeout=60)
    return done.stdout == b"sensor-agent 0.1.0\n"


def test_hostile_settings_do_not_redirect_the_setup(place, hostile, tmp_path):
    done = sh(place, "deploy/venv.sh", hostile, "central")
    assert done.returncode == 0, done.stderr
    assert says_version(place / ".venv" / "bin" / "sensor-agent")
    assert not (tmp_path / "elsewhere").exists()


def test_make_works_in_a_path_with_spaces_and_letters_beyond_ascii(place, tmp_path):
    env = surroundings(tmp_path / "home", PIP_FIND_LINKS=str(tmp_path / "wheels"))
    env |= {"PIP_NO_INDEX": "1", "VENV": ".venv"}
    done = subprocess.run(
        ["make", "demo"], cwd=place, env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sensor-agent 0.1.0\n"  # The stand-in says the same to every command.


NETWORKS = [
    ({"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}, "onnection refused"),
    ({"PIP_PROXY": "http://127.0.0.1:9"}, "onnection refused"),
    ({"PIP_NO_INDEX": "1"}, "no index (no-index)"),
]


@pytest.mark.parametrize(("variables", "reason"), NETWORKS)
def test_without_a_network_the_setup_prints_one_sentence(place, tmp_path, variables, reason):
    env = surroundings(tmp_path / "home", PIP_CONFIG_FILE=os.devnull, **variables)
    done = sh(place, "deploy/venv.sh", env, "central")
    assert done.returncode == 1
    step, sentence = done.stderr.splitlines()
    assert step.startswith("Installing the central packages")
    assert sentence.startswith("Cannot download ")
    assert reason in sentence
    assert "then try again." in sentence


@pytest.mark.parametrize("damage", ["bin/python", "lib"])
def test_an_environment_whose_python_is_gone_is_created_again(place, tmp_path, damage):
    damaged = place / ".venv" / damage
    if damaged.is_symlink():
        damaged.unlink()
        damaged.symlink_to("/nowhere/python3")
    else:
        shutil.rmtree(damaged)
    env = surroundings(tmp_path / "home", PIP_FIND_LINKS=str(tmp_path / "wheels"), PIP_NO_INDEX="1")
    done = sh(place, "deploy/venv.sh", env, "test")
    assert done.returncode == 0, done.stderr
    assert "Creating .venv with Python 3." in done.stderr
    assert says_version(place / ".venv" / "bin" / "sensor-agent")


@pytest.mark.skipif(os.getuid() == 0 and shutil.which("setpriv") is None, reason="no setpriv")
def test_an_environment_that_is_not_writable_is_named(place, tmp_path, ordinary_place):
    # As somebody else than root, who may look into neither root's Python nor pytest's directory.
    there = ordinary_place / "project"
    shutil.copytree(place, there, symlinks=True)
    shutil.rmtree(there / ".venv")
    bin_directory = there / ".venv" / "bin"
    bin_directory.mkdir(parents=True)
    python = "#!/bin/sh\ncase $* in -V) echo Python 3.14.0 ;; esac\n"
    (bin_directory / "python").write_text(python)
    for path in (there / ".venv", bin_directory, bin_directory / "python"):
        path.chmod(0o555)
    there.chmod(0o777)
    before = ["setpriv", "--reuid=65534", "--clear-groups"] if os.getuid() == 0 else []
    env = surroundings(ordinary_place)
    del env["PYTHON"]
    done = subprocess.run(
        [*before, "sh", "deploy/venv.sh", "central"], cwd=there, env=env,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    (there / ".venv").chmod(0o755)
    bin_directory.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Cannot write to .venv in {there}: it belongs to ")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def ordinary_debian(tmp_path):
    """A PATH of a Debian with nothing but what each needs, without sudo, for an ordinary user."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "env", "sed", "grep", "cat", "mktemp", "rm", "ls", "dirname", "uname"):
        (programs / name).symlink_to(shutil.which(name))

    for name, lines in {"id": "echo 1000", "apt-get": "exit 1", "apt-cache": "exit 1"}.items():
        write_program(programs / name, lines)
    return programs


def test_a_missing_python_venv_is_named_to_a_user_without_sudo(place, tmp_path, ordinary_debian):
    shutil.rmtree(place / ".venv")
    write_program(
        ordinary_debian / "python3",
        "case $* in -V) echo Python 3.14.0 ;; *ensurepip*) exit 1 ;;"
        " *print*) echo python3.14-venv ;; esac",
    )
    env = {"PATH": str(ordinary_debian), "HOME": str(tmp_path / "home")}
    done = sh(place, "deploy/venv.sh", env, "central")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Debian's package python3.14-venv (python3-venv) is missing.",
        "Install it, then try again:",
        "    su -c 'apt-get update && apt-get install python3.14-venv'",
    ]


def test_a_python_that_is_too_new_or_too_old_gets_the_way_to_another(
    place, tmp_path, ordinary_debian
):
    shutil.rmtree(place / ".venv")
    write_program(
        ordinary_debian / "python3", "case $* in -V) echo Python 3.15.0 ;; *) exit 1 ;; esac"
    )
    env = {"PATH": str(ordinary_debian), "HOME": str(tmp_path / "home")}
    done = sh(place, "deploy/venv.sh", env, "central")
    assert done.returncode == 1
    assert "needs Python 3.11 to 3.14, and python3 is Python 3.15.0." in done.stderr
    assert "su -c 'apt-get update && apt-get install python3 python3-venv'" in done.stderr


RETRY = (
    "WARNING: Retrying (Retry(total={}, connect=None)) after connection broken by '{}': /idna/\n"
)
NONE = "ERROR: No matching distribution found for idna\n"
DNS = 'NameResolutionError("Failed to resolve ([Errno -3] Temporary failure in name resolution)")'
TIMEOUT = "ReadTimeoutError(\"HTTPSConnectionPool(host='pypi.org'): Read timed out.\")"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (RETRY.format(0, DNS) + NONE, "Temporary failure in name resolution"),
        (RETRY.format(0, TIMEOUT) + NONE, "timed out"),
        (f"    raise ReadTimeoutError\npip._vendor.{TIMEOUT}\n", "timed out"),
        ("W: Temporary failure resolving 'deb'\nE: Unable to locate package make\n", "resolving"),
        ("E: Failed to fetch http://deb Could not connect to deb:80\n", "Could not connect"),
        # A retry that succeeded, and then another failure.
        (RETRY.format(1, TIMEOUT) + "error: command 'gcc' failed\n", None),
        (RETRY.format(1, TIMEOUT) + "(from versions: 1.0)\n" + NONE, None),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n", None),
        ("SSLError(CERTIFICATE_VERIFY_FAILED)\n", None),
    ],
)
def test_only_failures_of_the_network_are_explained(tmp_path, log, reason):
    (tmp_path / "log").write_text(log)
    lines = '. deploy/packages.sh; explain_download "$1"'
    done = scripts.sh(lines, "sh", tmp_path / "log")
    assert (done.returncode == 0) is (reason is not None)
    assert (reason or "") in done.stdout
    assert bool(done.stdout) is bool(reason)

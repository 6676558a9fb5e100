"""Taken off again: all but what is the owner's, and that too where it is asked for."""

from pis import CONFIG, OWN_KEY, STATE


def test_configuration_and_readings_stay_and_serve_again(installed):
    kept = [
        place
        for place in (CONFIG, OWN_KEY, f"{STATE}/settings.json")
        if installed.path(place).exists()
    ]
    said = installed.uninstall().stdout
    assert f"Kept: /etc/sensor-agent and {STATE}" in said
    for gone in (
        "/opt/sensor-agent",
        "/etc/systemd/system/sensor-agent.service",
        "/etc/systemd/system/sensor-agent.service.d",
        "/etc/systemd/system/multi-user.target.wants/sensor-agent.service",
        "/usr/local/bin/sensor-agent",
        "/usr/local/lib/systemd/catalog/sensor-agent.catalog",
        "/run/sensor-agent",
    ):
        assert not installed.path(gone).exists(), gone
    assert len(kept) == 3
    assert all(installed.path(place).exists() for place in kept)
    installed.install(key=False)
    assert installed.show("ActiveState")["ActiveState"] == "active"
    installed.until_connected()


def test_purged_it_leaves_only_what_others_may_use(bare):
    before = bare.snapshot()
    bare.install()
    said = bare.uninstall("--purge").stdout
    assert "Kept: the packages from Debian" in said
    packages = {
        line for line in bare.snapshot() if "/usr/lib/python" in line or "/usr/share/" in line
    }
    assert not {line for line in bare.snapshot() - before if line not in packages}
    assert bare.run("getent", "passwd", "sensor-agent", check=False).returncode != 0


def test_taking_off_what_is_not_there_is_no_error(bare):
    bare.uninstall()
    bare.uninstall("--purge")


def test_a_dry_run_takes_nothing_away(installed):
    before = {line for line in installed.snapshot() if f"{STATE}/" not in line}
    said = installed.uninstall("--purge", "--dry-run").stdout
    assert "rm -rf /opt/sensor-agent" in said
    assert {line for line in installed.snapshot() if f"{STATE}/" not in line} == before

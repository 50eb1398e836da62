"""A package's life on one machine: installed, removed, purged; then an older one, upgraded, rolled back, purged.

The tests tell one story in one Debian: each stage is a fixture that begins where the one before ended.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance import __version__
from appliance.store.migrations import MIGRATIONS
from tests.deb.conftest import ENVIRONMENT, OLDER, OLDER_SCHEMA, PROJECT, Machine
from tests.tui.terminal import Pty

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

STORE = "/var/lib/diecast/diecast.sqlite"
KEPT_STORE = "/usr/lib/diecast/kept-store"
PYTHON = "/usr/lib/diecast/venv/bin/python3"
DATA = ("/var/lib/diecast", "/srv/diecast", "/var/backups/diecast")
STAGING_UID = 65600
RPC_UNITS = ("rpcbind.socket", "rpcbind.service", "rpc-statd.service")
# Stands for a systemd that runs: notes what it is asked, and says what runs.
FAKE_SYSTEMCTL = """#!/bin/sh
echo "$*" >>/tmp/systemctl.log
case "$*" in
*list-units*) printf '%s loaded active running x\\n' diecast.target diecast-http.service diecast-verify.service ;;
*is-active*) exit 3 ;;
*is-enabled*) echo enabled ;;
esac
"""


def schema(machine: Machine, name: str = STORE) -> int:
    with closing(sqlite3.connect(machine.path(name))) as sql:
        return int(sql.execute("PRAGMA user_version").fetchone()[0])


def hosts(machine: Machine) -> list[str]:
    with closing(sqlite3.connect(machine.path(STORE))) as sql:
        return [str(row[0]) for row in sql.execute("SELECT name FROM host ORDER BY name")]


# -- a fresh machine


@pytest.fixture(scope="module")
def installed(fresh: Machine, package: Path) -> Machine:
    fresh.run("apt-get", "install", "-y", "-q", fresh.bring(package))
    return fresh


def test_apt_installs_it_on_a_fresh_debian_with_what_it_needs(installed: Machine) -> None:
    assert installed.run("diecast", "--version").stdout == f"diecast {__version__}\n"
    assert installed.run("dpkg", "--verify", "diecast").stdout == ""
    assert installed.run("dpkg", "--audit").stdout == ""


def test_its_python_has_all_libraries_and_none_of_the_systems(installed: Machine) -> None:
    code = (
        "import aiohttp, argon2, babel, blake3, netifaces, peewee, psutil, pyroute2, sys, textual, tftpy, zstandard;"
        "assert netifaces.interfaces() == ['lo']; babel.Locale.parse('fr');"
        "print(*[name for name in sys.path if 'dist-packages' in name])"
    )
    assert installed.run(PYTHON, "-I", "-c", code).stdout == "\n"


def test_the_doctor_finds_nothing_wrong_but_what_is_not_set_up_yet(installed: Machine) -> None:
    done = installed.run("diecast", "doctor", "--json", check=False)
    assert done.returncode == 69
    findings = json.loads(done.stdout)
    bad = {finding["area"] for finding in findings if finding["level"] == "problem"}
    assert bad <= {"network", "nfs"}  # no interface chosen; this folder has no kernel of its own
    good = {finding["area"] for finding in findings if finding["level"] == "ok"}
    assert {"settings", "boot", "versions", "store"} <= good
    assert "space" in {finding["area"] for finding in findings}  # how much there is, is the test machine's


def test_the_console_opens_in_both_languages_for_the_services_user(installed: Machine) -> None:
    user = ["setpriv", "--reuid=diecast", "--regid=diecast", "--clear-groups"]
    for language, words in (("en", "First start"), ("fr", "Premier démarrage")):
        command = installed.inside(*user, "diecast", "tui", "--language", language)
        with Pty(command, {**ENVIRONMENT, "TERM": "linux"}) as terminal:
            terminal.waits_for(words)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/var/lib/diecast", "diecast:diecast 700"),
        (STORE, "diecast:diecast 600"),
        ("/srv/diecast/chunks", "diecast:diecast 755"),
        ("/etc/sudoers.d/diecast", "root:root 440"),
        ("/etc/diecast/diecast.toml", "root:root 644"),
        ("/usr/lib/diecast/boot/initrd.img", "root:root 644"),
    ],
)
def test_files_belong_to_whom_they_should(installed: Machine, name: str, expected: str) -> None:
    assert installed.owner(name) == expected


def test_systemd_sudo_and_sshd_accept_its_files(installed: Machine) -> None:
    units = [path.name for path in (PROJECT / "systemd").glob("diecast*.*") if path.is_file() and "@" not in path.name]
    assert "diecast-http.service" in units
    assert installed.run("systemd-analyze", "verify", "--man=no", *units, "diecast-console@tty1.service").stdout == ""
    installed.run("visudo", "--check", "--quiet")
    installed.run("useradd", "--groups", "diecast-console", "marie")
    installed.path("/run/sshd").mkdir(exist_ok=True)
    found = installed.run("sshd", "-T", "-C", "user=marie,host=pc,addr=10.20.4.9").stdout
    assert "forcecommand /usr/bin/sudo -n -u diecast /usr/bin/diecast tui\n" in found
    installed.run("userdel", "marie")


def test_nothing_is_enabled_and_nfs_3_and_its_port_mapper_stay_closed(installed: Machine) -> None:
    for unit in ("diecast.target", "diecast-dhcp.service", "diecast-console@tty1.service"):
        assert installed.run("systemctl", "is-enabled", unit, check=False).stdout.strip() == "disabled"
    assert installed.run("systemctl", "is-enabled", "getty@tty1.service").stdout.strip() == "enabled"
    for unit in RPC_UNITS:
        assert installed.run("systemctl", "is-enabled", unit, check=False).stdout.strip() == "masked"
    settings = installed.run("nfsconf", "--dump").stdout
    assert re.search(r"^ *vers3 *= *n", settings, re.M)


@pytest.fixture(scope="module")
def removed(installed: Machine) -> Machine:
    installed.run("systemctl", "enable", "diecast.target", "diecast-console@tty1.service")
    installed.run("systemctl", "disable", "getty@tty1.service")
    installed.path("/etc/exports.d/diecast.exports").write_text("/srv/diecast/chunks 10.20.4.9(ro)\n")
    installed.run("apt-get", "remove", "-y", "-q", "diecast")
    return installed


def test_removed_it_leaves_settings_and_data_and_gives_back_what_it_took(removed: Machine) -> None:
    left = {name for name in removed.listing() if "diecast" in name and not name.startswith(DATA)}
    assert left == {
        "/etc/diecast",
        "/etc/diecast/diecast.toml",
        "/etc/ssh/sshd_config.d/diecast.conf",
        "/etc/sudoers.d/diecast",
    }
    assert removed.owner("/var/lib/diecast") == "diecast:diecast 700"
    for unit in RPC_UNITS:
        assert removed.run("systemctl", "is-enabled", unit, check=False).stdout.strip() != "masked"
    assert removed.run("systemctl", "is-enabled", "getty@tty1.service").stdout.strip() == "enabled"


@pytest.fixture(scope="module")
def purged(removed: Machine) -> Machine:
    removed.run("apt-get", "purge", "-y", "-q", "diecast")
    return removed


def test_purged_it_leaves_nothing_but_the_store_that_the_doctor_opened(purged: Machine) -> None:
    left = {name for name in purged.listing() if "diecast" in name}
    assert left - {f"{STORE}-wal", f"{STORE}-shm"} == {"/var/lib/diecast", STORE}
    assert purged.owner(STORE) == "root:root 600"
    assert "diecast" not in purged.path("/etc/passwd").read_text() + purged.path("/etc/group").read_text()


# -- from an older version to this one, and back


@pytest.fixture(scope="module")
def used(purged: Machine, older_package: Path) -> tuple[Machine, dict[str, str]]:
    """The older version at work: a store of its schema, an image, a running capture, an operator's settings."""
    shutil.rmtree(purged.path("/var/lib/diecast"))
    before = purged.listing()
    purged.run("dpkg", "-i", purged.bring(older_package))
    with closing(sqlite3.connect(purged.path(STORE))) as sql:
        sql.executescript((PROJECT / f"tests/testdata/store-schema-{OLDER_SCHEMA}.sql").read_text())
    chunk, staged = (purged.path(f"/srv/diecast/{name}") for name in ("chunks/ab/abcd", "staging/7/ef01"))
    for file in (chunk, staged):
        file.parent.mkdir()
        file.write_text("chunk")
        os.chown(file, STAGING_UID, STAGING_UID)
        os.chown(file.parent, STAGING_UID, STAGING_UID)
    purged.run("chown", "-R", "diecast:diecast", "/srv/diecast/chunks")
    with purged.path("/etc/diecast/diecast.toml").open("a") as settings:
        settings.write("# an operator's own line\n")
    purged.run("systemctl", "enable", "diecast.target")
    systemctl = purged.path("/usr/local/bin/systemctl")
    systemctl.write_text(FAKE_SYSTEMCTL)
    systemctl.chmod(0o755)
    return purged, before


@pytest.fixture(scope="module")
def upgraded(used: tuple[Machine, dict[str, str]], package: Path) -> tuple[Machine, str, list[str]]:
    machine, _ = used
    running = machine.path("/run/systemd/system")
    running.mkdir(parents=True)
    said = machine.run("dpkg", "-i", machine.bring(package)).stdout
    asked = machine.path("/tmp/systemctl.log").read_text().splitlines()
    running.rmdir()
    machine.path("/usr/local/bin/systemctl").unlink()
    return machine, said, asked


def test_an_upgrade_brings_the_store_up_to_date_and_keeps_it_as_it_was(
    upgraded: tuple[Machine, str, list[str]],
) -> None:
    machine, said, _ = upgraded
    assert schema(machine) == len(MIGRATIONS) > OLDER_SCHEMA == schema(machine, f"{STORE}.of-{OLDER}")
    assert f"from schema {OLDER_SCHEMA} to {len(MIGRATIONS)}; kept: {STORE}.of-{OLDER}" in said
    for name in (STORE, f"{STORE}.of-{OLDER}"):
        assert machine.owner(name) == "diecast:diecast 600"
    assert "LAB1-01" in machine.run("diecast", "host", "list").stdout
    assert machine.run("diecast", "--version").stdout == f"diecast {__version__}\n"


def test_an_upgrade_stops_what_runs_before_its_files_change_and_starts_the_same_again(
    upgraded: tuple[Machine, str, list[str]],
) -> None:
    _, _, asked = upgraded
    orders = [line.removeprefix("--quiet ") for line in asked]
    stopped = [line.split()[-1] for line in orders if line.startswith("stop")]
    started = [line.split()[-1] for line in orders if line.startswith("start")]
    assert stopped == ["diecast.target", "diecast-http.service", "diecast-verify.service"]
    assert started == ["diecast.target", "diecast-http.service"]  # a scrub is the timer's to start
    reload = next(index for index, line in enumerate(orders) if "daemon-reload" in line)
    last_stop = max(index for index, line in enumerate(orders) if line.startswith("stop"))
    assert last_stop < reload < min(index for index, line in enumerate(orders) if line.startswith("start"))


def test_an_upgrade_leaves_alone_what_the_operator_and_running_tasks_made(
    upgraded: tuple[Machine, str, list[str]],
) -> None:
    machine, _, _ = upgraded
    assert machine.path("/etc/diecast/diecast.toml").read_text().endswith("# an operator's own line\n")
    assert machine.run("systemctl", "is-enabled", "diecast.target").stdout.strip() == "enabled"
    assert machine.path("/srv/diecast/staging/7/ef01").stat().st_uid == STAGING_UID
    assert machine.path("/srv/diecast/staging/7").stat().st_uid == STAGING_UID
    assert machine.owner("/srv/diecast/chunks/ab/abcd").startswith("diecast:diecast")


@pytest.fixture(scope="module")
def rolled_back(upgraded: tuple[Machine, str, list[str]], older_package: Path) -> tuple[Machine, str]:
    machine, _, _ = upgraded
    return machine, machine.run("dpkg", "-i", machine.bring(older_package)).stdout


def test_the_older_package_says_that_the_store_is_newer_and_puts_its_own_back(rolled_back: tuple[Machine, str]) -> None:
    machine, said = rolled_back
    assert f"the store has schema {len(MIGRATIONS)}, this version knows {OLDER_SCHEMA}" in said
    refused = machine.run("diecast", "host", "list", check=False)
    assert refused.returncode == 69
    assert "Install the newer Diecast" in refused.stdout
    assert schema(machine) == len(MIGRATIONS)
    machine.run(KEPT_STORE, "put-back")
    assert schema(machine) == OLDER_SCHEMA
    assert machine.owner(STORE) == "diecast:diecast 600"
    assert hosts(machine) == ["LAB1-01", "MASTER"]
    kept = machine.run(KEPT_STORE, "list", check=False).stdout
    assert f"{__version__}\tschema {len(MIGRATIONS)}\t{STORE}.of-{__version__}\n" in kept


def test_a_copy_that_is_not_there_is_refused_in_words(rolled_back: tuple[Machine, str]) -> None:
    machine, _ = rolled_back
    done = machine.run(KEPT_STORE, "put-back", "7.7", check=False)
    assert (done.returncode, schema(machine)) == (66, OLDER_SCHEMA)
    assert done.stdout.startswith(f"diecast: There is no {STORE}.of-7.7.")


def test_purged_in_the_end_it_leaves_nothing_but_data_which_belongs_to_root(
    rolled_back: tuple[Machine, str], used: tuple[Machine, dict[str, str]]
) -> None:
    (machine, _), (_, before) = rolled_back, used
    said = machine.run("dpkg", "--purge", "diecast").stdout
    after = machine.listing()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # Users come and go: their files are written anew, those with a `-` are what they were before.
    ours = {
        name for name in changed if not name.startswith(DATA) and not re.match(r"/etc/(passwd|group|g?shadow)-?$", name)
    }
    assert ours == set()
    assert "diecast" not in machine.path("/etc/passwd").read_text() + machine.path("/etc/group").read_text()
    assert machine.owner(STORE) == "root:root 600"
    assert machine.owner("/srv/diecast/chunks/ab/abcd").startswith("root:root")
    assert machine.path("/srv/diecast/staging/7/ef01").stat().st_uid == STAGING_UID
    assert "/srv/diecast stays" in said
    assert "/var/backups/diecast" not in after  # nothing was ever in it


def test_installed_once_more_it_takes_up_the_data_that_stayed(rolled_back: tuple[Machine, str], package: Path) -> None:
    machine, _ = rolled_back
    machine.run("dpkg", "-i", machine.bring(package))
    # This machine has rpcbind already: whatever wants it there goes on.
    assert machine.run("systemctl", "is-enabled", "rpcbind.socket", check=False).stdout.strip() != "masked"
    assert machine.owner(STORE) == "diecast:diecast 600"
    assert machine.owner("/srv/diecast/chunks/ab/abcd").startswith("diecast:diecast")
    assert machine.path("/srv/diecast/staging/7/ef01").stat().st_uid == STAGING_UID
    assert "LAB1-01" in machine.run("diecast", "host", "list").stdout
    machine.run("dpkg", "--purge", "diecast")

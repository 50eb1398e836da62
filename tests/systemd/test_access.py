"""Who may do what on the box: the user, the folders, the way in by SSH, and which units the console may touch."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

from appliance.services.runtime import MODULES
from appliance.store import Store
from appliance.system.units import Verb
from tests.systemd.test_units import ASKED
from tests.systemd.units import UNITS, one, read

GROUP = "diecast-console"
RULE = (UNITS / "polkit-1/rules.d/50-diecast.rules").read_text()


def lines(path: str) -> list[str]:
    text = (UNITS / path).read_text()
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def place(root: Path, folder: str) -> None:
    """Our file where systemd looks for such ones below `root`."""
    there = root / "usr/lib" / folder
    there.mkdir(parents=True)
    shutil.copy(UNITS / folder / "diecast.conf", there)


def users(root: Path) -> None:
    """Let systemd-sysusers make our user and group in a root of its own."""
    place(root, "sysusers.d")
    (root / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={root}"], check=True, capture_output=True)


def test_the_user_of_the_services_cannot_log_in_and_the_group_of_the_operators_is_another(tmp_path: Path) -> None:
    users(tmp_path)
    passwd = (tmp_path / "etc/passwd").read_text()
    assert re.search(r"^diecast:x:\d+:\d+:[^:]*:/var/lib/diecast:/usr/sbin/nologin$", passwd, re.M)
    groups = (tmp_path / "etc/group").read_text()
    assert re.search(rf"^{GROUP}:x:\d+:$", groups, re.M)
    as_root = ("diecast-nfs.service", *(f"diecast-{name}.service" for name in ASKED))
    used = {one(read(path)["Service"], "User") for path in UNITS.glob("*.service") if path.name not in as_root}
    assert used == {"diecast"}


def test_nobody_but_the_services_user_reads_or_writes_the_store(tmp_path: Path) -> None:
    users(tmp_path)
    place(tmp_path, "tmpfiles.d")
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}"], check=True, capture_output=True)
    found = re.search(r"^diecast:x:(\d+):(\d+):", (tmp_path / "etc/passwd").read_text(), re.M)
    assert found
    owner = int(found[1]), int(found[2])
    state, store = tmp_path / "var/lib/diecast", tmp_path / "var/lib/diecast/diecast.sqlite"
    for path, mode in ((state, 0o40700), (store, 0o100600), (tmp_path / "var/backups/diecast", 0o40700)):
        info = path.stat()
        assert (info.st_uid, info.st_gid, oct(info.st_mode)) == (*owner, oct(mode))
    run = (tmp_path / "run/diecast").stat()
    assert (run.st_uid, run.st_mode & 0o022) == (0, 0)
    # Wishes: written by diecast alone, read by root without any capability.
    wishes = (tmp_path / "run/diecast/wishes").stat()
    assert (wishes.st_uid, wishes.st_gid, oct(wishes.st_mode)) == (owner[0], 0, "0o40750")


def test_the_empty_file_is_a_new_store_and_stays_its_owners_when_root_opens_it_first(tmp_path: Path) -> None:
    path = tmp_path / "diecast.sqlite"
    path.touch(0o600)
    path.chmod(0o600)
    os.chown(path, 65534, 65534)
    store = Store.open(path)
    store.settings.set("a", "b")
    owners = {found.name: found.stat().st_uid for found in tmp_path.iterdir()}
    store.close()
    assert set(owners.values()) == {65534}
    assert "diecast.sqlite-wal" in owners
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone()[0] > 0


def test_who_logs_in_by_ssh_lands_in_the_console_and_forwards_nothing() -> None:
    found = lines("sshd_config.d/diecast.conf")
    assert found[0] == f"Match Group {GROUP}"
    assert found[-1] == "Match all"  # what is read after this file is not ours
    options = dict(line.split(" ", 1) for line in found[1:-1])
    assert options["DisableForwarding"] == "yes"
    assert options["PermitUserRC"] == "no"
    assert options["ForceCommand"] == "/usr/bin/sudo -n -u diecast /usr/bin/diecast tui"


def test_sudo_allows_that_command_word_for_word_and_nothing_else() -> None:
    rules = [line for line in lines("sudoers.d/diecast") if not line.startswith("Defaults")]
    forced = "/usr/bin/diecast tui"
    assert rules == [f"%{GROUP} ALL=(diecast:diecast) CWD=/ NOPASSWD: {forced}"]
    assert (UNITS / "sshd_config.d/diecast.conf").read_text().count(f"sudo -n -u diecast {forced}\n") == 1
    defaults = next(line for line in lines("sudoers.d/diecast") if line.startswith("Defaults"))
    assert "env_reset" in defaults
    assert "!setenv" in defaults


def quoted(name: str) -> set[str]:
    """The words of an array in polkit's rule."""
    found = re.search(rf"var {name} = \[(.*?)\];", RULE, re.S)
    assert found
    return set(re.findall(r'"([^"]+)"', found[1]))


def test_polkit_lets_the_services_user_act_on_our_units_alone() -> None:
    units = quoted("units")
    assert {f"diecast-{name}.service" for name in MODULES} <= units
    there = {path.name for path in UNITS.iterdir() if path.is_file() and "@" not in path.name}
    assert units <= there
    assert quoted("verbs") == {verb.value for verb in Verb}


def test_polkits_rule_says_yes_once_and_to_nobody_else() -> None:
    code = re.sub(r"^\s*//.*$", "", RULE, flags=re.M)
    assert code.count("polkit.addRule") == 1
    assert code.count("Result.YES") == 1
    # In this order: not our action or user; unit and verb both ours; no.
    shape = re.sub(r"\s+", " ", code)
    manage, ours = '"org.freedesktop.systemd1.manage-units"', '"diecast"'
    first = f"if (action.id !== {manage} || subject.user !== {ours}) {{ return polkit.Result.NOT_HANDLED; }}"
    both = 'units.indexOf(action.lookup("unit")) >= 0 && verbs.indexOf(action.lookup("verb")) >= 0'
    second = f"if ({both}) {{ return polkit.Result.YES; }}"
    assert 0 < shape.index(first) < shape.index(second) < shape.index("return polkit.Result.NO; }")
    for opening, closing in ("()", "[]", "{}"):
        assert code.count(opening) == code.count(closing)

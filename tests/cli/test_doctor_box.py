"""What `diecast doctor` says of the machine itself: multicast, disks, clock, versions, the store's file, notices.

Programs that it asks stand in a folder of the test's own; what they answer is what the real ones print.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import socket
import sqlite3
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from appliance import __version__
from appliance.cli import checks
from appliance.cli.checks import Finding, Level, disks, machine, multicast
from appliance.cli.context import Context
from appliance.config import Subnet
from appliance.store import Store
from appliance.system import space
from tests.fakes.smtp import SmtpSink


@pytest.fixture
def context(config: Path) -> Iterable[Context]:
    opened = Context(config, os.environ)
    yield opened
    opened.close()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that programs are looked for in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, says: str, status: int = 0) -> None:
    (folder / f"{name}.out").write_text(says + "\n")
    path = folder / name
    path.write_text(f'#!/bin/sh\nwhile IFS= read -r line; do echo "$line"; done < {folder}/{name}.out\nexit {status}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    assert finding.level is Level.OK or finding.remedy
    assert finding.text.endswith(".")
    return finding


# -- multicast


def test_the_box_hears_its_own_multicast(context: Context) -> None:
    finding = only(checks.check_multicast(context))
    assert finding == Finding(Level.OK, "cast", "The box hears its own multicast on lo (group 239.192.68.255).")


def test_a_box_that_does_not_hear_itself_is_a_problem(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    sendto = socket.socket.sendto

    class Deaf(socket.socket):
        def sendto(self, *words: Any) -> int:  # as a filter drops it
            return sendto(self, words[0], ("127.0.0.1", 9))

    monkeypatch.setattr(multicast, "_socket", lambda: Deaf(socket.AF_INET, socket.SOCK_DGRAM))
    monkeypatch.setattr(multicast.hears_itself, "__kwdefaults__", {"wait_s": 0.1})
    finding = only(checks.check_multicast(context))
    assert (finding.level, "does not hear its own multicast on lo" in finding.text) == (Level.PROBLEM, True)
    assert "nft list ruleset" in finding.remedy


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EPERM, "nft"), (errno.ENETUNREACH, "nft"), (errno.ENODEV, "multicast on"), (errno.EIO, "ip -s link")],
)
def test_an_interface_that_takes_no_multicast_is_a_problem(
    context: Context, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(name: str, address: IPv4Address, group: IPv4Address) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(multicast, "hears_itself", refuse)
    finding = only(checks.check_multicast(context))
    assert (finding.level, remedy in finding.remedy) == (Level.PROBLEM, True)
    assert os.strerror(number) in finding.text


# -- disks


@pytest.fixture
def one_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with sda, and what is no disk of its own."""
    for name, removable in (("sda", "0"), ("sdb", "1"), ("loop0", "0"), ("vda", "0"), ("sr0", "1")):
        (tmp_path / "block" / name / "device").mkdir(parents=True)
        (tmp_path / "block" / name / "removable").write_text(f"{removable}\n")
    (tmp_path / "block" / "sda" / "device" / "model").write_text("WDC WD10\n")
    monkeypatch.setattr(disks, "_SYS", tmp_path / "block")
    monkeypatch.setattr("os.geteuid", lambda: 0)


PASSED = {"smart_status": {"passed": True}}
WORN = {"percentage_used": 97, "media_errors": 2, "critical_warning": 4}


def ata(number: int, raw: int) -> dict[str, Any]:
    return PASSED | {
        "ata_smart_attributes": {"table": [{"id": 9, "raw": {"value": 7}}, {"id": number, "raw": {"value": raw}}]}
    }


@pytest.mark.parametrize(
    ("answer", "status", "level", "words"),
    [
        (PASSED, 0, Level.OK, "Disk /dev/sda (WDC WD10) is healthy"),
        (ata(5, 0) | {"temperature": {"current": 41}}, 0, Level.OK, "is healthy"),
        ({"smart_status": {"passed": False}}, 8, Level.PROBLEM, "says that it will fail soon"),
        (PASSED, 8, Level.PROBLEM, "says that it will fail soon"),
        (ata(5, 12), 0, Level.WARNING, "is getting worse: 12 sectors reallocated."),
        (ata(197, 1), 0, Level.WARNING, "is getting worse: 1 sector unreadable."),
        (PASSED | {"nvme_smart_health_information_log": WORN},
         0, Level.WARNING, "it gives a critical warning, 2 errors of its memory, 97 % worn"),
        (PASSED | {"temperature": {"current": 71}}, 0, Level.WARNING, "has 71 degrees"),
        ({"smartctl": {"messages": [{"string": "Smartctl open device: /dev/sda failed: Permission denied"}]}},
         2, Level.WARNING, "is not known: Smartctl open device: /dev/sda failed: Permission denied."),
        ({}, 4, Level.OK, "is not known: it has no SMART."),
    ],
)  # fmt: skip
def test_a_disk_is_as_smartctl_says(
    context: Context, one_disk: None, programs: Path, answer: Any, status: int, level: Level, words: str
) -> None:
    program(programs, "smartctl", json.dumps(answer), status)
    finding = only(checks.check_disks(context))
    assert (finding.level, finding.area) == (level, "disks")
    assert words in finding.text


@pytest.mark.parametrize("says", ["", "no JSON", "[]", '{"smart_status": 7, "ata_smart_attributes": [3]}'])
def test_an_answer_of_smartctl_that_makes_no_sense_ends_nothing(
    context: Context, one_disk: None, programs: Path, says: str
) -> None:
    program(programs, "smartctl", says, 2)
    assert only(checks.check_disks(context)).level is Level.WARNING


def test_a_disk_that_does_not_answer_is_a_warning(
    context: Context, one_disk: None, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = programs / "smartctl"
    path.write_text("#!/bin/sh\nexec /bin/sleep 5\n")
    path.chmod(0o755)
    monkeypatch.setattr(disks, "_TIMEOUT_S", 0.1)
    assert "did not answer" in only(checks.check_disks(context)).text


def test_without_smartctl_or_the_right_to_ask_that_is_said(
    context: Context, one_disk: None, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = only(checks.check_disks(context))
    assert (finding.text, finding.remedy) == (
        "The health of the disks is not known: smartctl is not installed.",
        "Install the package smartmontools.",
    )
    program(programs, "smartctl", "{}")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "only root may ask" in only(checks.check_disks(context)).text


def test_a_machine_without_disks_of_its_own_has_nothing_to_ask(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "_SYS", tmp_path)
    assert only(checks.check_disks(context)).level is Level.OK


# -- the clock

TRACKING = "C0A80001,192.168.0.1,{stratum},1795427103.1,0.0,0.0,0.0,-1.5,0.0,0.0,0.0,0.0,64.4,{leap}\n"


@pytest.mark.parametrize(
    ("chronyc", "timedatectl", "level", "words"),
    [
        (TRACKING.format(stratum=3, leap="Normal"), "no\n", Level.OK, "is kept by NTP"),
        (TRACKING.format(stratum=0, leap="Not synchronised"), "yes\n", Level.WARNING, "no time server keeps it"),
        (None, "yes\n", Level.OK, "is kept by NTP"),
        (None, "no\n", Level.WARNING, "no time server keeps it"),
        ("506 Cannot talk to daemon\n", "yes\n", Level.OK, "is kept by NTP"),
        (None, None, Level.OK, "nothing here tells whether NTP keeps it"),
        (None, "Failed to connect to bus\n", Level.OK, "nothing here tells"),
    ],
)
def test_the_clock_is_kept_or_not(
    context: Context, programs: Path, chronyc: str | None, timedatectl: str | None, level: Level, words: str
) -> None:
    for name, says in (("chronyc", chronyc), ("timedatectl", timedatectl)):
        if says is not None:
            program(programs, name, says)
    finding = only(checks.check_clock(context))
    assert (finding.level, words in finding.text) == (level, True)


@pytest.mark.parametrize("built", [datetime(2060, 1, 1, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)])
def test_a_date_that_cannot_be_is_a_problem(
    context: Context, programs: Path, monkeypatch: pytest.MonkeyPatch, built: datetime
) -> None:
    monkeypatch.setattr(machine, "built_at", lambda: built)
    finding = only(checks.check_clock(context))
    assert (finding.level, f"this Diecast is of {built:%Y-%m-%d}" in finding.text) == (Level.PROBLEM, True)


@pytest.mark.parametrize(
    ("ntp", "serves", "level", "words"),
    [
        ("auto", True, Level.OK, "This box gives PCs the time"),
        ("auto", False, Level.WARNING, "nothing here serves NTP"),
        ("off", False, Level.OK, "dhcp.ntp is off"),
    ],
)
def test_pcs_have_a_time_server_or_the_doctor_says_so(
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    ntp: str,
    serves: bool,
    level: Level,
    words: str,
) -> None:
    monkeypatch.setattr(machine, "serves_time", lambda: serves)
    subnet = Subnet()
    dhcp = dataclasses.replace(context.settings.dhcp, mode="full", subnet=(subnet,), ntp=ntp)
    monkeypatch.setattr(context, "_settings", dataclasses.replace(context.settings, dhcp=dhcp))
    finding = only(checks.check_time(context))
    assert (finding.level, words in finding.text) == (level, True)
    named = dataclasses.replace(dhcp, subnet=(dataclasses.replace(subnet, ntp=(IPv4Address("10.0.0.4"),)),))
    monkeypatch.setattr(context, "_settings", dataclasses.replace(context.settings, dhcp=named))
    assert only(checks.check_time(context)).level is Level.OK


def test_this_program_was_not_made_in_the_future() -> None:
    assert datetime(2020, 1, 1, tzinfo=UTC) < machine.built_at() <= datetime.now(UTC)


# -- versions


@pytest.mark.parametrize(
    ("agent", "level", "words"),
    [
        (__version__, Level.OK, f"Diecast and its agent are {__version__}; the PCs' kernel is 6.12.117."),
        ("0.0.9", Level.PROBLEM, "the agent of the boot folder is 0.0.9"),
        ("", Level.WARNING, "does not say which version its agent is"),
    ],
)
def test_the_agent_is_of_the_same_version(context: Context, agent: str, level: Level, words: str) -> None:
    boot = context.settings.paths.boot
    boot.mkdir()
    catalog = {
        "initrd.img": {"package": "diecast", "version": "6.12.117"} | ({"diecast": agent} if agent else {}),
        "undionly.kpxe": {"package": "ipxe", "version": "1.21.1"},
    }
    (boot / "catalog.json").write_text(json.dumps(catalog))
    finding, loaders = checks.check_versions(context)
    assert (finding.level, words in finding.text) == (level, True)
    assert loaders.text == "Loaders: ipxe 1.21.1."


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense", '{"initrd.img": 3}', '{"initrd.img": {}, "x": 7}'])
def test_a_broken_catalogue_is_left_to_the_check_of_boot_files(context: Context, text: str) -> None:
    context.settings.paths.boot.mkdir()
    (context.settings.paths.boot / "catalog.json").write_text(text)
    assert list(checks.check_versions(context)) == []


# -- the store's file, and disks' room


def test_a_store_that_is_whole_says_so_and_one_that_is_damaged_inside_is_a_problem(config: Path, store: Store) -> None:
    fresh = Context(config, os.environ)
    assert only(checks.check_database(fresh)).text.endswith("is whole: SQLite's quick check finds nothing.")
    fresh.close()
    for number in range(300):
        store.audit.record("me", f"did {number}", "x" * 200)
    path = store.path
    store.close()
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = int(sql.execute("SELECT rootpage FROM sqlite_master WHERE name = 'audit'").fetchone()[0])
        size = int(sql.execute("PRAGMA page_size").fetchone()[0])
    sql.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size + 12)  # where the root page's list of its children begins
        file.write(b"\xff" * 100)
    hurt = Context(config, os.environ)
    finding = only(checks.check_database(hurt))
    hurt.close()
    assert (finding.level, "is damaged" in finding.text) == (Level.PROBLEM, True)
    assert "backup" in finding.remedy


@pytest.mark.parametrize(
    ("what", "free", "state"),
    [("images", 500, ""), ("images", 99, space.LOW), ("images", 50, space.FULL), ("store", 49, space.FULL)],
)
def test_room_is_measured_by_share_and_reserve(what: str, free: int, state: str) -> None:
    assert space.Space(what, Path("/srv"), free, 1000, 50).state == state


def test_a_disk_that_cannot_be_measured_is_a_problem(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("appliance.system.space.shutil.disk_usage", broken)
    assert "cannot be measured" in only(checks.check_space(context)).text


# -- notices


def test_notices_that_do_not_arrive_are_a_warning(context: Context, config: Path, store: Store) -> None:
    assert list(checks.check_notices(context)) == [], "none are set up"
    lines = f'mail_host = "127.0.0.1"\nmail_port = {SmtpSink(port=9).port}\nmail_to = ["ops@lab.example"]\n'
    config.write_text(config.read_text() + f"[notify]\n{lines}")
    other = Context(config, os.environ)
    assert only(checks.check_notices(other)).level is Level.OK
    store.notices.gather(["mail"], {"disk images": ("full", {"event": "disk"})})
    store.notices.trouble("mail", "The mail server is away.", "Is it running?")
    finding = only(checks.check_notices(other))
    other.close()
    assert "By mail, 1 notice wait since 20" in finding.text
    assert (finding.text.endswith(": The mail server is away."), finding.remedy) == (True, "Is it running?")

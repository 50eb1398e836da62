"""The system screen: services, disks, the audit trail, the doctor, and what its parts have in common."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import checks
from appliance.config import Paths, Settings
from appliance.events import Role, ServiceHealth
from appliance.store import Store
from appliance.system import units
from appliance.tui import palette
from appliance.tui.screens.images import ImagesScreen
from appliance.tui.screens.system import SystemScreen
from appliance.tui.screens.system_disks import DiskRow, _free_role, measured
from appliance.tui.screens.system_doctor import AREAS
from tests.fakes.command_line import FakeCommandLine
from tests.fakes.systemd import FakeSystemd
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, make_app, pressing

PARTS = ("services", "log", "disks", "settings", "operators", "audit", "backups", "doctor")
FINDINGS = [
    {"level": "ok", "area": "settings", "text": "The settings are valid.", "remedy": ""},
    {"level": "problem", "area": "boot", "text": "vmlinuz is missing.", "remedy": "Run: make agent"},
    {"level": "warning", "area": "images", "text": "The disk is nearly full.", "remedy": "Remove a version."},
]


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    return FakeSystemd.install(tmp_path / "systemd", monkeypatch)


@pytest.fixture
def no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_BOOTED", tmp_path / "nowhere")


@pytest.fixture
def cli(tmp_path: Path) -> FakeCommandLine:
    made = FakeCommandLine.install(tmp_path / "cli")
    made.answers("doctor", FINDINGS, status=69)
    images = [
        {"image": "win11-lab", "stored_bytes": 22_000_000_000, "own_bytes": 21_000_000_000},
        {"image": "ubuntu-dev", "stored_bytes": 29_000_000_000, "own_bytes": 28_000_000_000},
    ]
    made.answers("image usage", {"chunks": 9, "stored_bytes": 51_000_000_000, "images": images, "versions": []})
    return made


@asynccontextmanager
async def system(store: Store, *keys: str, part: str = "services", **options: Any) -> AsyncIterator[Seat]:
    """The screen with one of its parts, after some keys."""
    if "settings" not in options:
        folder = store.path.parent
        options["settings"] = Settings(paths=Paths(folder, folder / "images", folder / "boot", folder / "run"))
    async with console(store, **options) as seat:
        await seat.press("7", *["tab"] * PARTS.index(part), *keys)
        yield seat


def screen_of(seat: Seat) -> SystemScreen:
    screen = seat.app.base_screen
    assert isinstance(screen, SystemScreen)
    return screen


def audit(store: Store) -> list[tuple[str, str]]:
    return [(event.action, event.detail) for event in store.audit.list()]


# -- services


async def test_a_service_tells_its_health_by_its_own_word_and_by_systemds(store: Store, systemd: FakeSystemd) -> None:
    systemd.has_units({"dhcp": {}, "http": {"ActiveState": "failed", "Result": "exit-code"}})
    store.services.beat("http", ServiceHealth.FAILED, "Port 80 is taken.", pid=9, started=NOON, now=NOON)
    async with system(store, size=LARGE) as seat:
        assert seat.line_with("dhcp ").split()[:4] == ["dhcp", "ok", "12:00", "100"]
        assert "active" in seat.line_with("dhcp ")
        line = seat.line_with("http ")
        assert "failed" in line
        assert "failed (exit-code)" in line
        assert "Port 80 is taken." in line
        await seat.press("down", "down")
        assert "Look into its log (l)" in seat.text()


async def test_a_service_without_a_sign_of_life_is_silent_and_it_is_said_what_to_do(
    store: Store, no_systemd: None
) -> None:
    async with system(store, now=NOON + timedelta(minutes=5)) as seat:
        assert "silent" in seat.line_with("dhcp ")
        assert "killed, or it hangs" in seat.text()
        assert "5 min ago" in seat.text()


async def test_a_service_that_has_older_settings_wants_a_restart(store: Store, no_systemd: None) -> None:
    store.settings.set("config.dhcp.lease_s", "600")
    store.settings.set("config-changed.dhcp.lease_s", (NOON - timedelta(minutes=1)).isoformat())
    async with system(store, size=LARGE) as seat:
        assert "restart needed: dhcp.lease_s" in seat.line_with("dhcp ")
        assert "restart it (r)" in seat.text()
        store.services.beat("dhcp", ServiceHealth.OK, pid=101, started=NOON, now=NOON)
        await seat.settle()
        assert "restart needed" not in seat.text()


@pytest.mark.parametrize(("key", "verb"), [("t", "start"), ("r", "restart")])
async def test_services_are_started_and_restarted(store: Store, systemd: FakeSystemd, key: str, verb: str) -> None:
    async with system(store, "space", "space", key) as seat:
        if verb == "restart":
            assert "Restart dhcp, tftp?" in seat.text()
            await seat.press("enter")
        assert [
            "--no-pager",
            "--no-ask-password",
            verb,
            "diecast-dhcp.service",
            "diecast-tftp.service",
        ] in systemd.calls()
        assert f"{verb.capitalize()}ed dhcp, tftp." in seat.text()
        assert screen_of(seat).part.table.marked == set()
    assert audit(store) == [(f"service {verb}", "dhcp, tftp")]


async def test_stopping_a_service_wants_its_name(store: Store, systemd: FakeSystemd) -> None:
    async with system(store, "k") as seat:
        assert "Lends addresses" in seat.text()
        assert "PCs are at work; they wait" in seat.text()
        await seat.press("enter")
        assert not any("stop" in call for call in systemd.calls())
        await seat.press(*"dhcp", "enter")
        assert systemd.calls()[-2][2:] == ["stop", "diecast-dhcp.service"]
    assert audit(store) == [("service stop", "dhcp")]


async def test_what_systemd_refuses_is_said_and_leaves_no_audit_line(store: Store, systemd: FakeSystemd) -> None:
    systemd.refuses("Access denied\n", 4)
    async with system(store, "t") as seat:
        assert "systemctl start: Access denied." in seat.text()
    assert audit(store) == []


@pytest.mark.parametrize("key", ["t", "r", "k"])
async def test_without_systemd_it_is_said_who_starts_services(store: Store, no_systemd: None, key: str) -> None:
    async with system(store, key) as seat:
        assert "systemd does not run this machine" in seat.text()
        assert screen_of(seat).is_current


@pytest.mark.parametrize("key", ["t", "r", "k"])
@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_admins_act_on_services(store: Store, systemd: FakeSystemd, key: str, role: Role) -> None:
    async with system(store, key, role=role) as seat:
        assert "Only an admin may do that" in seat.text()
        assert screen_of(seat).is_current
    assert all(call[2] == "show" for call in systemd.calls())


async def test_the_log_of_a_service_is_a_key_away(store: Store, no_systemd: None) -> None:
    async with system(store, "down", "l") as seat:
        assert screen_of(seat).part.NAME == "log"
        assert "tftp, following" in seat.lines()[2]


# -- disks


async def test_disks_and_what_images_take_of_them_are_told(store: Store, cli: FakeCommandLine) -> None:
    async with system(store, part="disks", command=cli.command, size=(200, 40)) as seat:
        paths = [row.path for row in screen_of(seat).part.table.rows if row.path]
        assert paths == [str(store.path.parent)] * 2
        assert seat.line_with("Image disk")
        assert seat.line_with("State disk")
        assert "29.0 GB" in seat.line_with("ubuntu-dev ")
        assert "images together 51.0 GB" in seat.lines()[2]
        await seat.press("down", "down")
        assert "28.0 GB are needed by no other image: removing it frees so much." in seat.text()


async def test_enter_on_an_image_leads_to_it(store: Store, cli: FakeCommandLine) -> None:
    async with system(store, "end", "enter", part="disks", command=cli.command) as seat:
        screen = seat.app.base_screen
        assert isinstance(screen, ImagesScreen)
        assert screen.images.row is not None
        assert screen.images.row.name == "win11-lab"


async def test_images_are_told_without_the_engine_too(store: Store) -> None:
    async with system(store, "end", part="disks") as seat:
        assert "44.0 GB" in seat.line_with("ubuntu-dev ")
        assert "not known" in seat.text()


def test_a_folder_that_is_not_there_yet_is_measured_where_it_will_lie(tmp_path: Path) -> None:
    row = measured("Image disk", tmp_path / "a" / "b")
    assert row.path == str(tmp_path)
    assert 0 < row.used_bytes < row.total_bytes


@pytest.mark.parametrize(("used", "role"), [(50, "ok"), (90, "warn"), (96, "bad")])
def test_a_full_disk_is_told(used: int, role: str) -> None:
    assert _free_role(DiskRow("Image disk", used, 100, 100 - used, "/x")) == role


# -- audit


async def test_the_audit_trail_is_told_newest_first_and_searched(store: Store) -> None:
    store.audit.record("marie", "host edit", "lab-07: notes", now=NOON)
    store.audit.record("luc", "image remove", "win11-lab@1", now=NOON)
    async with system(store, part="audit", size=LARGE) as seat:
        rows = [row[1] for row in screen_of(seat).part.table.rows]
        assert [event.actor for event in rows] == ["luc", "marie"]
        assert "image remove: win11-lab@1" in seat.text()
        await seat.press("slash", *"notes", "enter")
        assert [row[1].actor for row in screen_of(seat).part.table.rows] == ["marie"]


async def test_what_others_do_meanwhile_comes_into_the_audit_trail(store: Store) -> None:
    async with system(store, part="audit") as seat:
        assert "Nothing was changed yet." in seat.text()
        store.hosts.edit("lab-01", notes="x")
        store.audit.record("luc", "host edit", "lab-01: notes", now=NOON)
        await seat.settle()
        assert "lab-01: notes" in seat.text()


# -- doctor


async def test_the_doctor_looks_when_he_is_first_visited_the_worst_on_top(store: Store, cli: FakeCommandLine) -> None:
    async with system(store, part="doctor", command=cli.command) as seat:
        assert cli.calls() == ["image usage --json", "doctor --json"]
        assert [row.level for row in screen_of(seat).part.table.rows] == ["problem", "warning", "ok"]
        assert "1 problem, 1 warning" in seat.text()
        assert "Run: make agent" in seat.text()
        await seat.press("enter")
        assert "▲ problem: boot files" in seat.text()


def test_every_area_of_the_doctor_has_its_word() -> None:
    source = "".join(path.read_text("utf-8") for path in Path(checks.__file__).parent.glob("*.py"))
    areas = set(re.findall(r'Finding\(\s*Level\.[A-Z]+,\s*"([a-z]+)"', source))
    assert {"boot", "network"} < areas <= set(AREAS)


async def test_the_doctor_looks_again_when_he_is_asked(store: Store, cli: FakeCommandLine) -> None:
    async with system(store, part="doctor", command=cli.command, role=Role.VIEWER) as seat:
        cli.answers("doctor", [FINDINGS[0]])
        await seat.press("v")
        assert len(cli.calls("doctor")) == 2
        assert "The doctor found nothing wrong." in seat.text()
        await seat.press("tab", "shift+tab")
        assert len(cli.calls("doctor")) == 2


async def test_a_doctor_who_cannot_come_says_why(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("doctor", None, errors="diecast: The settings file is gone.\n", status=78)
    async with system(store, part="doctor", command=cli.command) as seat:
        assert "The settings file is gone." in seat.text()
        assert "Nothing was found yet. v checks." in seat.text()


# -- the parts together


async def test_tab_goes_round_all_parts(store: Store, cli: FakeCommandLine) -> None:
    async with system(store, command=cli.command) as seat:
        for name in (*PARTS[1:], PARTS[0]):
            await seat.press("tab")
            assert name == screen_of(seat).part.NAME
            assert screen_of(seat).part.table.has_focus
        await seat.press("shift+tab")
        assert screen_of(seat).part.NAME == "doctor"


async def test_the_parts_can_be_chosen_by_name(store: Store, cli: FakeCommandLine) -> None:
    async with system(store, part="audit", command=cli.command) as seat:
        await seat.press("u", *"doctor", "enter")
        assert screen_of(seat).part.NAME == "doctor"


def test_the_palette_has_every_action_of_every_part(store: Store) -> None:
    app = make_app(store.path)
    names = {item.key for item in palette.items(app)}
    for part in SystemScreen.PARTS:
        for key in part.KEYS:
            if key.name not in ("open", "show"):
                assert (palette.ACT, "system", f"{part.NAME}.{key.name}") in names


async def test_an_action_of_another_part_is_done_from_the_palette(store: Store, cli: FakeCommandLine) -> None:
    async with console(store, command=cli.command) as seat:
        await seat.press("ctrl+p", *"operator", "space", *"add", "enter")
        assert screen_of(seat).part.NAME == "operators"
        assert "A new operator" in seat.text()


async def test_who_comes_back_finds_the_services_and_no_log_is_followed_behind(store: Store, no_systemd: None) -> None:
    async with system(store, part="log") as seat:
        part = screen_of(seat).named_part("log")
        follower = part._follower  # type: ignore[attr-defined]
        assert follower.is_alive()
        await seat.press("1", "7")
        assert screen_of(seat).part.NAME == "services"
        follower.join(30)
        assert not follower.is_alive()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_picture_of_the_system(
    store: Store, snap_compare: Any, no_systemd: None, cli: FakeCommandLine, size: tuple[int, int]
) -> None:
    store.services.beat("nfs", ServiceHealth.FAILED, "Port 2049 is taken.", pid=9, started=NOON, now=NOON)
    store.settings.set("config-changed.dhcp.lease_s", (NOON - timedelta(minutes=1)).isoformat())
    app = make_app(store.path, command=cli.command)
    assert snap_compare(app, terminal_size=size, run_before=pressing("7"))


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_picture_of_the_doctor(store: Store, snap_compare: Any, cli: FakeCommandLine, size: tuple[int, int]) -> None:
    app = make_app(store.path, command=cli.command)
    assert snap_compare(app, terminal_size=size, run_before=pressing("7", "shift+tab"))

"""Every key of every screen, part, page and dialog is pressed there, and what it must do is looked at.

The places and their keys stand in tables (`tests.tui.places_*`). The tables are whole: `try_every_key` compares each
with the keys that the console takes at that place, and the last tests compare the places with the classes there are.
"""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import argon2
import pytest
from textual.screen import Screen
from textual.widget import Widget

import appliance.tui
from appliance.backup import plan
from appliance.config import Paths, Settings
from appliance.events import BootStage, Role
from appliance.model import Lease
from appliance.store import Store
from appliance.system import logs
from appliance.tui.screens import hosts_files
from tests.fakes.command_line import FakeCommandLine
from tests.fakes.systemd import FakeSystemd
from tests.tui import places_box, places_jobs, places_numbered, places_over, places_setup
from tests.tui.kit import NOON, capture, console, deploy, furnish
from tests.tui.presses import Hand, Place, Press, own_keys_of, try_every_key
from tests.tui.test_backups import NEW, OLD
from tests.tui.usual_keys import LISTS, TEXTS

PLACES: list[Place] = [
    found
    for module in (places_numbered, places_box, places_over, places_jobs, places_setup)
    for found in vars(module).values()
    if isinstance(found, Place)
]
PASSWORD = "correct horse"
HOSTS = """\
name,macs,room,notes
new-07,52:54:00:cc:00:01,B204,first
lab-01,52:54:00:aa:01:01,B204,moved
bad name,52:54:00:cc:00:02,,
"""


@pytest.fixture(scope="module")
def model_box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box with at least two of everything that is listed anywhere; each test gets a copy."""
    folder = tmp_path_factory.mktemp("box")
    with Store.open(folder / "diecast.sqlite") as store:
        furnish(store)
        _furnish_more(store)
    (folder / "hosts.csv").write_text(HOSTS, encoding="utf-8")
    log = logs.file_of(folder)
    log.parent.mkdir(exist_ok=True)
    said = ("info dhcp offered 10.20.5.1", "warning http slow answer", "error nfs broken", "info dhcp seen again")
    log.write_text("".join(f"{(NOON + timedelta(seconds=n)).isoformat()} {text}\n" for n, text in enumerate(said)))
    return folder


@pytest.fixture
def furnished(model_box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A copy of the box."""
    folder = tmp_path / "box"
    shutil.copytree(model_box, folder)
    monkeypatch.setattr(hosts_files, "_last_path", str(folder / "hosts.csv"))
    with Store.open(folder / "diecast.sqlite") as store:
        yield store


def _furnish_more(store: Store) -> None:
    for number in range(1, 31):
        store.hosts.add(f"r-{number:02}", [f"52:54:00:bb:01:{number:02x}"], now=NOON - timedelta(days=9))
    capture(store, "dev-01", "old-img", "d")
    win11 = store.images.resolve("win11-lab")
    for number in range(1, 31):
        deploy(store, f"r-{number:02}", "win11-lab", share=0.3 + number / 100, cast_id=1)
    deploying = next(task for task in store.tasks.list() if task.host_name == "lab-03")
    groups = IPv4Network("239.192.68.0/24")
    ended = store.casts.open(win11, groups=groups, now=NOON - timedelta(minutes=9))
    store.casts.stop(ended.id, now=NOON - timedelta(minutes=8))
    store.casts.open(store.images.resolve("old-img"), 5, 300, groups=groups, now=NOON - timedelta(minutes=5))
    store.tasks.deploy(store.hosts.get("lab-20"), win11, start_at=NOON + timedelta(hours=9), now=NOON)
    for mac in ("52:54:00:ee:00:07", "52:54:00:ee:00:08"):
        store.hosts.seen(mac, BootStage.KERNEL, ip="10.20.7.7", now=NOON - timedelta(minutes=1))
    store.tasks.add_log(deploying.id, [f"line {number}" for number in range(60)])
    _network(store)
    store.settings.set("config.dhcp.lease_s", "3600")
    store.settings.set(plan.TARGET, "/media/diecast")
    for number in range(3):
        store.audit.record("marie", "host edit", f"lab-0{number}: notes", now=NOON - timedelta(minutes=9 - number))


def _network(store: Store) -> None:
    leases = [
        ("10.20.5.1", "52:54:00:aa:01:01", 9),
        ("10.20.5.2", "52:54:00:aa:01:02", 5),
        ("10.20.5.3", "52:54:00:aa:01:03", -5),
    ]
    store.leases.save(
        [Lease(IPv4Address(ip), f"mac:{mac}", mac, NOON + timedelta(minutes=minutes)) for ip, mac, minutes in leases]
    )
    store.leases.reserve("52:54:00:aa:01:03", IPv4Address("10.20.4.9"))
    store.leases.reserve("52:54:00:aa:01:04", IPv4Address("10.20.4.10"))
    for number in (1, 2, 3):
        store.hosts.add_dock_mac(f"52:54:00:dd:00:0{number}")
    store.servers.heard("10.20.4.7", "eth1", now=NOON - timedelta(hours=3))
    store.servers.heard("10.20.4.8", "eth1", now=NOON - timedelta(hours=4))


@pytest.fixture
def cli(tmp_path: Path) -> FakeCommandLine:
    made = FakeCommandLine.install(tmp_path / "cli")
    made.answers("image usage", {"chunks": 9, "stored_bytes": 51_000_000_000, "images": [], "versions": []})
    part = {
        "name": "sda2",
        "kind": "partition",
        "filesystem": "ntfs",
        "label": "Windows",
        "size_bytes": 9,
        "used_bytes": 5,
    }
    made.answers("image show", {"minimum_disk_bytes": 64_000_000_000, "regions": [part] * 30})
    made.answers("image remove", {"versions": [], "chunks": 6_000, "bytes": 7_000_000_000})
    made.answers("image verify", [{"version": "", "ok": True, "chunks": 9, "bad": [], "problems": []}])
    made.answers("notify test", [{"way": "mail", "where": "ops@lab.example", "error": "", "remedy": ""}])
    made.answers("backup list", [NEW, OLD])
    made.answers("backup run", {"backup": NEW["backup"]})
    made.answers("backup verify", {"problems": []})
    levels = (("ok", "settings"), ("problem", "boot"), ("warning", "images"))
    made.answers("doctor", [{"level": n, "area": a, "text": f"About {a}.", "remedy": ""} for n, a in levels])
    return made


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    """systemd runs the machine; the log is a file all the same."""
    made = FakeSystemd.install(tmp_path / "systemd", monkeypatch)
    monkeypatch.setattr(logs, "source", lambda state: logs.LogFile(logs.file_of(state)))
    return made


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
async def test_every_key_does_what_it_says(
    place: Place, furnished: Store, empty: Store, cli: FakeCommandLine, systemd: FakeSystemd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    box = empty if place.empty else furnished
    box.operators.hasher = argon2.PasswordHasher.from_parameters(argon2.profiles.CHEAPEST)
    if place.staff:
        box.operators.add("marie", Role.ADMIN, PASSWORD)
        box.operators.add("luc", Role.OPERATOR, PASSWORD)
    folder = box.path.parent
    settings = Settings(paths=Paths(folder, folder / "images", folder / "boot", folder / "run"))
    machine = places_setup.CountingMachine(monkeypatch)
    if place.empty:
        machine.answers_for_itself(monkeypatch)
    async with console(box, settings=settings, command=cli.command) as seat:
        seat.store.operators.hasher = box.operators.hasher
        await try_every_key(Hand(seat, box, cli, systemd, machine), place, LISTS | TEXTS)


# -- whole ------------------------------------------------------------------------------------------------------------


def ours(kind: type[Any]) -> set[type[Any]]:
    """Every class of the console below `kind`."""
    for module in pkgutil.walk_packages(appliance.tui.__path__, "appliance.tui."):
        importlib.import_module(module.name)
    found: set[type[Any]] = set()
    new = {kind}
    while new:
        new = {sub for one in new for sub in one.__subclasses__()} - found
        found |= new
    return {one for one in found if one.__module__.startswith("appliance.tui")}


def shown_screens() -> list[type[Any]]:
    """Screens and dialogs that are shown, not what they have in common."""
    every = ours(Screen)
    return sorted((kind for kind in every if not every & set(kind.__subclasses__())), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("screen", shown_screens(), ids=lambda kind: kind.__name__)
def test_every_screen_part_and_page_has_its_keys_in_a_table(screen: type[Any]) -> None:
    parts = [each.NAME for each in (*getattr(screen, "PARTS", ()), *getattr(screen, "PAGES", ()))]
    places = [place for place in PLACES if place.screen == screen.__name__]
    assert {place.part for place in places} == set(parts or [""])
    assert any(place.first for place in places), "the keys of all such screens are pressed nowhere on this one"


def test_every_widget_that_has_keys_has_them_pressed() -> None:
    with_keys = {kind.__name__ for kind in ours(Widget) - ours(Screen) if own_keys_of(kind)}
    assert {owner for place in PLACES for owner in place.owners} == with_keys


def test_a_press_that_says_nothing_is_refused() -> None:
    with pytest.raises(AssertionError, match="says what it does"):
        Press()

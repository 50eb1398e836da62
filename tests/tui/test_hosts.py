"""The hosts screen: list, views, marks, and what is done to the hosts chosen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from appliance.events import BootStage, Role, TaskState
from appliance.store import Store
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, deploy, make_app, pressing


def names(seat: Seat) -> list[str]:
    """The hosts in the list, in its order."""
    screen = seat.app.base_screen
    assert screen is not None
    listed = screen.main_list()
    assert listed is not None
    return [line.host.name for line in listed.rows]


def audit(store: Store) -> list[tuple[str, str, str]]:
    """What the audit trail got, newest first."""
    return [(event.actor, event.action, event.detail) for event in store.audit.list(5)]


# -- the list ---------------------------------------------------------------------------------------------------------


async def test_a_line_tells_room_task_image_and_when_the_pc_was_seen(store: Store) -> None:
    async with console(store, size=(200, 60)) as seat:
        await seat.press("2")
        assert seat.line_with("lab-03 ").split() == [
            "lab-03", "B204", "▸", "deploy", "65", "%", "-", "9", "min", "uefi", "52:54:00:aa:01:03", "10.20.5.3",
        ]  # fmt: skip
        assert "ubuntu-dev@2" in seat.line_with("dev-01")
        assert "▲ deploy failed" in seat.line_with("lab-17")
        assert "■ sealed" in seat.line_with("win11-master")
        assert "Office 2024" in seat.line_with("win11-master")


@pytest.mark.parametrize(
    ("width", "shown", "hidden"),
    [(80, ("Name", "Room", "Now", "Holds", "Seen"), ("Firmware", "MAC")), (200, ("MAC", "Address", "Notes"), ())],
)
async def test_columns_come_and_go_with_the_width(
    store: Store, width: int, shown: tuple[str, ...], hidden: tuple[str, ...]
) -> None:
    async with console(store, size=(width, 24)) as seat:
        await seat.press("2")
        head = seat.line_with("Name")
        assert [title for title in shown if title not in head] == []
        assert [title for title in hidden if title in head] == []


async def test_find_looks_into_every_column_also_those_that_are_not_shown(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "slash", "0", "b", "enter")
        assert names(seat) == ["lab-11"]
        assert "found: 1" in seat.text()
        await seat.press("escape")
        assert len(names(seat)) == 22


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("sealed", ["win11-master"]),
        ("failed", ["lab-17"]),
        ("without", 18),
        ("never", ["dev-01", "win11-master"]),
        ("unfinished", 8),
        ("in no", ["dev-01", "lab-17", "lab-18", "lab-19", "lab-20", "win11-master"]),
        ("b204", 16),
    ],
)
async def test_a_view_shows_some_hosts(store: Store, letters: str, expected: int | list[str]) -> None:
    async with console(store) as seat:
        await seat.press("2", "u")
        await seat.type(letters)
        await seat.press("enter")
        found = names(seat)
        assert len(found) == expected if isinstance(expected, int) else found == expected
        assert f": {len(found)}" in seat.lines()[2]


async def test_lists_sort_by_each_column_and_both_ways_with_numbers_by_value(store: Store) -> None:
    store.hosts.add("lab-100", ["52:54:00:aa:03:01"])
    async with console(store) as seat:
        await seat.press("2")
        assert names(seat)[-2:] == ["lab-100", "win11-master"]
        await seat.press("s", "S")
        assert names(seat)[:2] == ["win11-master", "lab-100"]
        await seat.press("s", "s", "s", "s")
        assert names(seat)[0] == "lab-19", "seen eight seconds ago"


async def test_marks_choose_several_all_that_are_shown_or_none(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "space", "space")
        assert "2 marked" in seat.text()
        await seat.press("slash", *"b204", "enter", "asterisk")
        assert "17 marked" in seat.text(), "lab-01 was marked already, dev-01 is hidden by the filter"
        await seat.press("escape", "escape")
        assert "marked" not in seat.text()


async def test_a_change_of_another_process_appears_in_the_list(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2")
        store.hosts.edit("lab-02", sealed=True)
        store.hosts.remove("dev-01")
        await seat.look()
        assert "■ sealed" in seat.line_with("lab-02")
        assert "dev-01" not in seat.text()


async def test_the_view_of_a_room_that_is_renamed_shows_all_again(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "u", *"b204", "enter")
        store.rooms.edit("B204", name="B205")
        await seat.look()
        assert len(names(seat)) == 22


# -- actions ----------------------------------------------------------------------------------------------------------


async def test_removing_one_host_wants_its_name_and_frees_its_address(store: Store) -> None:
    from ipaddress import IPv4Address

    store.leases.reserve("52:54:00:aa:01:14", IPv4Address("10.20.4.9"))
    async with console(store) as seat:
        await seat.press("2", *["down"] * 20, "x")
        assert "Remove 1 host?" in seat.text()
        await seat.press("enter")
        assert "That is not lab-20." in seat.text()
        await seat.type("lab-20")
        await seat.press("enter")
    assert "lab-20" not in [host.name for host in store.hosts.list()]
    assert store.leases.reservations() == []
    assert audit(store)[0] == ("marie", "host remove", "lab-20")


async def test_removing_several_wants_their_number_typed_and_leaves_those_at_work(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "down", "space", "space", "space", "x")  # lab-01, lab-02, lab-03
        assert "Remove 3 hosts?" in seat.text()
        assert "unfinished task and stay: lab-03" in seat.text()
        await seat.press("2", "enter")
        assert "That is not 3. Nothing was done." in seat.text()
        assert len(store.hosts.list()) == 22
        await seat.press("backspace", "3", "enter")
        assert "lab-03 is busy with task" in seat.text()
    assert {"lab-01", "lab-02"}.isdisjoint(host.name for host in store.hosts.list())
    assert store.hosts.get("lab-03")


async def test_escape_leaves_everything_as_it_is(store: Store) -> None:
    before = store.hosts.list()
    async with console(store) as seat:
        await seat.press("2", "down")
        for key in ("x", "z", "g", "e", "a", "i", "o", "u"):
            await seat.press(key, "escape")
            assert seat.app.screen is seat.app.base_screen, key
    assert store.hosts.list() == before
    assert audit(store) == []


async def test_waking_asks_the_scheduler_for_the_hosts_chosen(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "space", "end", "space", "w")
        assert "Waking 2 PCs." in seat.text()
    assert {call.host_name for call in store.hosts.to_wake()} == {"dev-01", "win11-master"}
    assert audit(store)[0] == ("marie", "host wake", "dev-01, win11-master")


async def test_sealing_and_lifting_the_seal_say_what_they_mean(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "down", "z")
        assert "Seal 1 host?" in seat.text()
        assert "Sysprep would be undone" in seat.text()
        await seat.press("enter")
        assert store.hosts.get("lab-01").sealed
        await seat.press("z")
        assert "Lift the seal of 1 host?" in seat.text()
        await seat.press("enter")
    assert not store.hosts.get("lab-01").sealed
    assert [entry[2] for entry in audit(store)[:2]] == ["lab-01: not sealed", "lab-01: sealed"]


async def test_of_some_sealed_and_some_not_those_that_are_not_become_sealed(store: Store) -> None:
    store.hosts.edit("lab-01", sealed=True)
    async with console(store) as seat:
        await seat.press("2", "down", "space", "space", "z")
        assert "Seal 1 host?" in seat.text()
        await seat.press("enter")
    assert store.hosts.get("lab-01").sealed
    assert store.hosts.get("lab-02").sealed


async def test_the_hosts_chosen_are_put_into_a_room(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "space", "down", "space", "g", *"libr", "enter")
        assert "In room Library: 2 hosts." in seat.text()
    assert [host.name for host in store.rooms.hosts("Library")] == ["dev-01", "lab-02"]
    assert audit(store)[0] == ("marie", "room assign", "Library: dev-01, lab-02")


async def test_a_room_can_be_made_for_them_at_once_and_a_name_that_exists_is_refused(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "g")
        await seat.type("new room")
        await seat.press("enter", *"b204", "enter")
        assert "There is a room 'B204' already." in seat.text()
        await seat.press("5", "enter")
        assert "In room b2045: 1 host." in seat.text()
    assert store.hosts.get("dev-01").room == "b2045"


async def test_hosts_are_taken_out_of_their_room(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "down", "g")
        await seat.type("no room")
        await seat.press("enter")
        assert "In no room: 1 host." in seat.text()
    assert store.hosts.get("lab-01").room == ""


async def test_the_log_key_opens_the_task_at_work_with_the_pcs_log(store: Store) -> None:
    task = store.tasks.for_host(store.hosts.get("lab-03").id)
    assert task is not None
    store.tasks.add_log(task.id, ["writing /dev/nvme0n1"])
    async with console(store) as seat:
        await seat.press("2", *["down"] * 3, "l")
        assert "writing /dev/nvme0n1" in seat.text()
        await seat.press("escape", "down", *["down"] * 16, "l")
        assert "It has had no task lately." in seat.text()


@pytest.mark.parametrize("key", ["a", "e", "x", "g", "w", "z", "i", "o"])
async def test_a_viewer_looks_and_changes_nothing(store: Store, key: str) -> None:
    before = store.hosts.list()
    async with console(store, role=Role.VIEWER) as seat:
        await seat.press("2", "down")
        assert "Remove" not in seat.lines()[-1]
        await seat.press(key)
        assert "marie may look, but change nothing." in seat.text()
        assert seat.app.screen is seat.app.base_screen
    assert store.hosts.list() == before


async def test_every_action_is_in_the_palette_and_goes_to_the_screen(store: Store) -> None:
    async with console(store) as seat:
        for letters, title in (
            ("add a host", "A new host"),
            ("import hosts", "Import hosts"),
            ("export hosts into", "Export hosts"),
            ("forget the chosen", "Remove 1 host?"),
            ("seal the chosen", "Seal 1 host?"),
        ):
            await seat.press("1", "ctrl+p")
            await seat.type(letters)
            await seat.press("enter")
            assert title in seat.text(), letters
            await seat.press("escape")


async def test_a_host_is_found_by_name_in_the_palette_whatever_view_is_on(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "u", *"sealed", "enter", "slash", *"win", "enter", "1", "ctrl+p")
        await seat.type("lab-09")
        await seat.press("enter")
        screen = seat.app.base_screen
        assert screen is not None
        listed = screen.main_list()
        assert listed is not None
        assert listed.row is not None
        assert listed.row.host.name == "lab-09"


async def test_who_comes_back_finds_the_hosts_again_not_the_rooms(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab")
        assert "second floor" in seat.text()
        await seat.press("question_mark", "escape")
        assert "second floor" in seat.text(), "a dialog is no other screen"
        await seat.press("1", "2")
        assert "lab-01" in seat.text()


async def test_the_guided_jobs_begin_with_the_hosts_chosen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, Any]] = []
    async with console(store) as seat:
        monkeypatch.setattr(seat.app, "open_job", lambda name, *arguments: begun.append((name, *arguments)))
        await seat.press(
            "2", "down", "c", "d", "space", "space", "d", "escape", "tab", "d", "tab", "d", "tab", "enter", "c"
        )
        await seat.press("d")
    room = tuple(f"lab-{number:02}" for number in range(1, 17))
    assert begun == [
        ("capture", ("lab-01",)),
        ("deploy", ()),
        ("deploy", ("lab-01", "lab-02")),
        ("deploy", room),
        ("deploy", ()),
        ("capture", ("lab-03",)),
        ("deploy", ("lab-03",)),
    ]


# -- unknown PCs ------------------------------------------------------------------------------------------------------


async def test_an_unknown_pc_is_registered_with_its_mac_and_the_next_free_name(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "shift+tab")
        assert "52:54:00:ee:00:01" in seat.text()
        assert "menu" in seat.line_with("52:54:00:ee:00:01")
        await seat.press("enter")
        assert "PC-001" in seat.text()
        await seat.press("enter")
        assert "No unknown PC has booted" in seat.text()
    assert store.hosts.get("PC-001").macs == ("52:54:00:ee:00:01",)


async def test_several_unknown_pcs_are_named_from_a_pattern_and_put_into_a_room(store: Store) -> None:
    for digit in "23":
        store.hosts.seen(f"52:54:00:ee:00:0{digit}", BootStage.MENU, arch=7, now=NOON - timedelta(minutes=1))
    async with console(store) as seat:
        await seat.press("2", "shift+tab", "asterisk", "a", "end", "ctrl+u", *"NEW-", "left_curly_bracket", *"nn")
        await seat.press("right_curly_bracket", "down", *"nowhere", "enter")
        assert "There is no room 'nowhere'." in seat.text()
        await seat.press("down", "end", "ctrl+u", *"library", "enter")
        assert "Registered NEW-01, NEW-02, NEW-03." in seat.text()
    assert [host.name for host in store.rooms.hosts("Library")] == ["NEW-01", "NEW-02", "NEW-03"]


async def test_a_viewer_cannot_register_a_pc(store: Store) -> None:
    async with console(store, role=Role.VIEWER) as seat:
        await seat.press("2", "shift+tab", "enter")
        assert "may look, but change nothing" in seat.text()


# -- the page of a host -----------------------------------------------------------------------------------------------


async def test_the_page_of_a_host_tells_its_life_its_tasks_and_what_is_in_it(store: Store) -> None:
    mac, host = "52:54:00:aa:01:13", store.hosts.get("lab-19")
    for seconds, stage in ((6, BootStage.SCRIPT), (5, BootStage.KERNEL)):
        store.hosts.seen(mac, stage, now=NOON - timedelta(seconds=seconds))
    disk = {"path": "/dev/sda", "size_bytes": 512_000_000_000, "model": "Samsung 980"}
    inventory = {"vendor": "Dell", "model": "OptiPlex", "memory_bytes": 16_000_000_000, "disks": [disk]}
    store.hosts.save_inventory(host.id, inventory, now=NOON)
    async with console(store, size=LARGE) as seat:
        await seat.press("2", "slash", *"lab", "minus", *"19", "enter", "enter")
        assert "loader 11:59:52 ▸ script 11:59:54 ▸ kernel 11:59:55 ▸ agent ▸" in seat.text()
        assert "░ waiting" in seat.text()
        assert "Dell OptiPlex" in seat.text()
        assert "/dev/sda 512 GB Samsung 980" in seat.text()
        assert "16.0 GB" in seat.text()


async def test_the_page_moves_with_the_task_and_leads_to_it(store: Store) -> None:
    host = store.hosts.get("lab-19")
    async with console(store) as seat:
        await seat.press("2", "slash", *"lab", "minus", *"19", "enter", "enter")
        task = store.tasks.for_host(host.id)
        assert task is not None
        store.tasks.checked_in(task.id, "10.20.5.19", host.macs[0], now=NOON)
        store.tasks.progress(task.id, "writing windows", 71, 100, 1e6, now=NOON)
        await seat.settle()
        assert "agent 12:00:00 ▸ 71 % ▸ verify ▸ done" in seat.text()
        await seat.press("enter")
        assert "writing windows" in seat.text()
        assert "Check-ins" in seat.text()
        await seat.press("escape", "h")
        assert seat.app.base_screen is not None
        assert seat.app.base_screen.NAME == "tasks"


async def test_a_host_that_failed_says_why_on_its_page(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "u", *"failed", "enter", "enter")
        assert "too small" in seat.text()
        assert "Use a larger disk" in seat.text()
        assert "failed 11:41:00" in seat.text()


@pytest.mark.parametrize(
    ("key", "title"), [("e", "Edit lab-20"), ("g", "Where do"), ("z", "Seal 1 host?"), ("x", "Remove 1 host?")]
)
async def test_the_page_has_the_actions_of_the_list(store: Store, key: str, title: str) -> None:
    async with console(store) as seat:
        await seat.press("2", *["down"] * 20, "enter", key)
        assert title in seat.text()
        await seat.press("escape", "w")
        assert "Waking 1 PC." in seat.text()


async def test_the_page_of_a_host_that_somebody_removes_says_so(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", *["down"] * 20, "enter", "x")
        await seat.type("lab-20")
        await seat.press("enter")
        assert "This host is not there any more." in seat.text()
        await seat.press("l")
        assert "It has had no task." in seat.text()


async def test_the_page_refuses_a_viewer(store: Store) -> None:
    async with console(store, role=Role.VIEWER) as seat:
        await seat.press("2", "down", "enter")
        for key in ("e", "g", "w", "z", "x"):
            await seat.press(key)
            assert "may look, but change nothing" in seat.text()


async def test_history_lists_every_task_of_the_host_the_newest_first(store: Store) -> None:
    first = store.tasks.for_host(store.hosts.get("lab-19").id)
    assert first is not None
    store.tasks.cancel(first.id, now=NOON)
    done = deploy(store, "lab-19", "win11-lab", share=0.9)
    store.tasks.move(done.id, TaskState.VERIFYING, now=NOON)
    store.tasks.move(done.id, TaskState.DONE, now=NOON)
    async with console(store) as seat:
        await seat.press("2", "slash", *"lab", "minus", *"19", "enter", "enter")
        tasks = [line for line in seat.lines() if "deploy  " in line]
        assert ["done" in tasks[0], "cancelled" in tasks[1], len(tasks)] == [True, True, 2]


# -- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
def test_picture_of_the_hosts(store: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    app = make_app(store.path, language=language)
    assert snap_compare(app, terminal_size=size, run_before=pressing("2", "down", "space", "space"))


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
def test_picture_of_a_host(store: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    app = make_app(store.path, language=language)
    assert snap_compare(app, terminal_size=size, run_before=pressing("2", "down", "down", "down", "enter"))


@pytest.mark.parametrize("language", ["en", "fr"])
def test_picture_of_the_form(store: Store, snap_compare: Any, language: str) -> None:
    app = make_app(store.path, language=language)
    assert snap_compare(app, terminal_size=SMALL, run_before=pressing("2", "down", "e"))

"""The pages of the guided jobs, and what each key does there (`tests.tui.presses`)."""

from __future__ import annotations

from typing import Any

from appliance.events import BootStage, TaskKind, TaskState
from appliance.store import Store
from appliance.tui.widgets.forms import Entry
from appliance.tui.widgets.rowlist import RowList
from tests.tui.kit import NOON
from tests.tui.places_numbered import LIST, state_of
from tests.tui.presses import (
    CHANGES,
    Do,
    Effect,
    Hand,
    Place,
    Press,
    keys_shown,
    nothing,
    opens,
    part_of,
    press,
    rows,
    stored,
    top,
)
from tests.tui.usual_keys import ALONE, FORM, JOB, UNMARKED, choice

CHOICES = frozenset({"FormRows", "Choice"})
_AWAY = press(Effect(top, "OverviewScreen"))
NO_LIST = nothing("the page has no list")


def _turned(back: str) -> Press:
    return press(Effect(choice, CHANGES), undo=(back,))


STILL = dict.fromkeys(("up", "down", "pageup", "pagedown", "home", "end"), nothing("all of it is in sight"))


def _page(part: str, **more: Any) -> Press:
    """Another page of the job."""
    return press(Effect(part_of, part), **more)


def page_of_job(name: str, screen: str, part: str, way: tuple[Do, ...], keys: dict[str, Press], owners: frozenset[str],
         **more: Any) -> Place:  # fmt: skip
    return Place(f"{screen}: {name}", screen, way, keys, owners, part=part, **more)


_CHOICE = {"left": _turned("right"), "right": _turned("left"), "space": _turned("left"), "slash": NO_LIST}
_FORM = JOB | FORM

# -- deploy -----------------------------------------------------------------------------------------------------------


def _open_deploy(hand: Hand) -> None:
    """Eight PCs of the room that are free."""
    hosts = [f"lab-{number:02}" for number in range(9, 17)]
    hand.seat.app.open_job("deploy", hosts, hand.store.images.resolve("ubuntu-dev").id)


def _open_tasks(hand: Hand) -> None:
    tasks = [task.id for task in hand.store.tasks.list() if task.host_name in ("lab-17", "lab-18", "lab-19")]
    hand.seat.app.open_job("deploy", (), "", tasks)


def _targets(hand: Hand) -> int:
    return hand.seat.app.screen.query_one("#targets", RowList)._at


def _given(store: Store) -> int:
    return sum(task.kind is TaskKind.DEPLOY and not task.state.is_final for task in store.tasks.list(limit=500))


DEPLOY_IMAGE = page_of_job("which image", "DeployJob", "image", ("d",), {
    **UNMARKED, "enter": _page("hosts", first=("end",)), "escape": _AWAY,
}, LIST, family=JOB | ALONE)  # fmt: skip
DEPLOY_PCS = page_of_job("which PCs", "DeployJob", "hosts", ("d", "enter"), {
    "enter": _page("how"), "escape": _page("image"),
    "g": press(Effect(lambda hand: len(rows(hand).marked), 16), asks="Which room?", then=("'B204", "enter")),
}, LIST, family=JOB | ALONE, first=False)  # fmt: skip
DEPLOY_HOW = page_of_job("all at once", "DeployJob", "how", (_open_deploy, "enter"), {
    **_CHOICE, "enter": _page("when"), "escape": _page("hosts"),
}, CHOICES, family=_FORM, first=False)  # fmt: skip
DEPLOY_WHEN = page_of_job("when", "DeployJob", "when", (_open_deploy, "enter", "enter"), {
    **_CHOICE, "enter": _page("lost"), "escape": _page("how"),
}, CHOICES, family=_FORM, first=False)  # fmt: skip
DEPLOY_LOST = page_of_job("what is lost", "DeployJob", "lost", (_open_deploy, "enter", "enter", "enter"), {
    "escape": _page("when"),
    "up": nothing("it has one field"), "down": nothing("it has one field"),
    "pagedown": press(Effect(_targets, CHANGES), beyond=True),
    "pageup": press(Effect(_targets, CHANGES), first=("pagedown",), beyond=True),
    "enter": stored(_given, lambda was: was + 8, first=("'8",), beyond=True),
}, frozenset({"FormRows"}), family=JOB | ALONE, first=False)  # fmt: skip
DEPLOY_WATCH = page_of_job("how it goes", "DeployJob", "watch", (_open_tasks,), {
    "enter": opens("TaskPage"), "escape": _AWAY,
    "r": stored(lambda s: state_of(s, "lab-17"), TaskState.WAITING, asks="Deploy to 1 PC once more?",
                then=("1", "enter")),
    "k": stored(lambda s: state_of(s, "lab-18"), TaskState.CANCELLED, asks="Cancel the deploy of 1 PC?",
                first=("slash", "'lab-18", "enter", "space"), then=("1", "enter")),
}, LIST, family=JOB | ALONE, first=False)  # fmt: skip

# -- capture ----------------------------------------------------------------------------------------------------------


def _open_capture(hand: Hand) -> None:
    hand.seat.app.open_job("capture", ("dev-01",))


def _name(hand: Hand) -> str:
    return hand.seat.app.screen.query_one("#entry", Entry).value


def _captures(store: Store) -> int:
    return sum(task.kind is TaskKind.CAPTURE for task in store.tasks.list(limit=500))


_CAPTURE: tuple[Do, ...] = (_open_capture, "enter")
CAPTURE_PC = page_of_job("which PC", "CaptureJob", "host", ("c",), {
    **UNMARKED, "enter": _page("ready", first=("home",)), "escape": _AWAY,
}, LIST, family=JOB | ALONE)  # fmt: skip
CAPTURE_READY = page_of_job("is it ready", "CaptureJob", "ready", _CAPTURE, {
    **UNMARKED, "enter": _page("image"), "escape": _page("host"), "slash": NO_LIST,
    "s": press(Effect(lambda hand: rows(hand)._sort, 0)),
    "S": press(Effect(keys_shown, CHANGES), first=("s",)),
}, LIST, family=JOB | ALONE, first=False)  # fmt: skip
CAPTURE_IMAGE = page_of_job("into which image", "CaptureJob", "image", (*_CAPTURE, "enter"), {
    "enter": _page("start", first=("'new-one",), beyond=True), "escape": _page("ready"),
    "down": press(Effect(_name, "old-img"), beyond=True),
    "up": press(Effect(_name, "old-img"), first=("down", "down"), beyond=True),
}, frozenset(), family=JOB | ALONE, first=False)  # fmt: skip
CAPTURE_START = page_of_job("start and end", "CaptureJob", "start", (*_CAPTURE, "enter", "'new-one", "enter"), {
    **_CHOICE, "enter": _page("go"), "escape": _page("image"),
}, CHOICES, family=_FORM, first=False)  # fmt: skip
CAPTURE_GO = page_of_job("all right", "CaptureJob", "go", (*_CAPTURE, "enter", "'new-one", "enter", "enter"), {
    **STILL, "slash": NO_LIST, "escape": _page("start"),
    "enter": stored(_captures, lambda was: was + 1),
}, frozenset({"Scrolling"}), family=JOB | ALONE, first=False)  # fmt: skip

_number: list[int] = []


def _capture_waits(hand: Hand) -> None:
    _number[:] = [hand.store.tasks.capture(hand.store.hosts.get("lab-20"), "new-one", now=NOON).id]


def _capture_failed(hand: Hand) -> None:
    _capture_waits(hand)
    hand.store.tasks.move(_number[0], TaskState.FAILED, error="It is broken.", now=NOON)


def _open_watch(hand: Hand) -> None:
    hand.seat.app.open_job("capture", (), _number[0])


_FREE: Do = lambda hand: hand.store.tasks.cancel(next(t.id for t in hand.store.tasks.list() if t.host_name == "lab-20"))  # noqa: E731
CAPTURE_WATCH = page_of_job("watch it", "CaptureJob", "watch", (_open_watch,), {
    **STILL, "slash": NO_LIST, "enter": nothing("it is not stored yet"), "escape": _AWAY,
    "l": opens("TaskPage"),
    "k": stored(lambda s: s.tasks.get(_number[0]).state, TaskState.CANCELLED, asks="Cancel this capture?",
                then=("enter",)),
}, frozenset({"Scrolling"}), family=JOB | ALONE, first=False, once=(_FREE, _capture_waits))  # fmt: skip
CAPTURE_FAILED = page_of_job("watch one that failed", "CaptureJob", "watch", (_open_watch,), {
    **STILL, "slash": NO_LIST, "enter": nothing("it has failed"), "escape": _AWAY,
    "l": opens("TaskPage"),
    "r": stored(_captures, lambda was: was + 1),
}, frozenset({"Scrolling"}), family=JOB | ALONE, first=False, once=(_FREE, _capture_failed))  # fmt: skip

# -- new PCs ----------------------------------------------------------------------------------------------------------

_FIELD = {"escape": _page("image")}
NEW_IMAGE = page_of_job("which image", "NewPcsJob", "image", ("n",), {
    **UNMARKED, "enter": _page("names"), "escape": _AWAY,
}, LIST, family=JOB | ALONE)  # fmt: skip
NEW_NAMES = page_of_job("names", "NewPcsJob", "names", ("n", "enter"), {
    "enter": _page("many", beyond=True), "escape": _page("image"),
}, frozenset({"FormRows"}), family=_FORM, first=False)  # fmt: skip
NEW_MANY = page_of_job("how many", "NewPcsJob", "many", ("n", "enter", "enter"), {
    "enter": _page("go", beyond=True), "escape": _page("names"),
}, frozenset({"FormRows"}), family=_FORM, first=False)  # fmt: skip
NEW_GO = page_of_job("all right", "NewPcsJob", "go", ("n", "enter", "enter", "enter"), {
    **STILL, "slash": NO_LIST, "escape": _page("many"),
    "enter": stored(lambda s: len(s.tasks.orders(now=NOON)), 1),
}, frozenset({"Scrolling"}), family=JOB | ALONE, first=False)  # fmt: skip

_order: list[int] = []


def _two_come(hand: Hand) -> None:
    """An order of which two PCs have come, and are held."""
    _order[:] = [order.id for order in hand.store.tasks.orders(now=NOON)]
    for number in (1, 2):
        mac = f"52:54:00:ef:00:0{number}"
        hand.store.hosts.seen(mac, BootStage.DHCP, ip="10.20.7.9", now=NOON)
        assert hand.store.tasks.adopt([mac], now=NOON) is not None


def _open_order(hand: Hand) -> None:
    hand.seat.app.open_job("new_pcs", _order[0])


def _held(store: Store) -> int:
    return len(store.tasks.held(_order[0]))


NEW_ARRIVALS = page_of_job("who has come", "NewPcsJob", "arrivals", (_open_order,), {
    **UNMARKED, "escape": _AWAY,
    "l": opens("TaskPage"),
    "delete": opens("Confirm", asks="Give this order up?"),
    "enter": stored(_held, 0, asks="Deploy to 2 PCs?", then=("2", "enter")),
    "x": stored(lambda s: len(s.tasks.orders(now=NOON)), 0, asks="Give this order up?", then=("enter",)),
}, LIST, family=JOB | ALONE, first=False, once=("n", "enter", "enter", "enter", "enter", _two_come))  # fmt: skip

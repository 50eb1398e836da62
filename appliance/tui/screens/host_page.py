"""One host: what it is, how far it is, what it did, and what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult

from appliance.model import Host, Inventory, Sighting, Task, TaskEvent
from appliance.store import Store
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens import host_life, hosts_actions, hosts_forms
from appliance.tui.screens.base import OverScreen
from appliance.tui.screens.table import JOBS
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import EMPTY_LINE, Board, BoardLine, Line, wrap

_LABEL = 18  # cells
_HISTORY = 50  # tasks


@dataclass(frozen=True, slots=True)
class Found:
    """What is read for this page alone."""

    sighting: Sighting | None = None  # the last boot of any of its cards
    inventory: Inventory | None = None
    tasks: tuple[Task, ...] = ()  # newest first
    events: tuple[TaskEvent, ...] = ()  # of the newest


def read(store: Store, host_id: int, macs: Sequence[str]) -> Found:
    """Read it."""
    boots = [found for mac in macs if (found := store.hosts.sighting(mac)) is not None]
    last = max(boots, key=lambda boot: boot.at, default=None)
    tasks = tuple(store.tasks.list(host_id=host_id, limit=_HISTORY))
    events = tuple(store.tasks.events(tasks[0].id)) if tasks else ()
    return Found(last, store.hosts.inventory(host_id), tasks, events)


class HostPage(OverScreen):
    """See the module."""

    ABOUT = N_(
        "One host. Its life line shows which steps of its boot and task it has reached and when; those to come are"
        " dim. The arrows go to its tasks, Enter opens one with its steps and the log of the PC."
    )
    KEYS: ClassVar[tuple[Key, ...]] = (
        *(keys.TABLE[job.name] for job in JOBS if job.name in ("capture", "deploy")),
        keys.named("edit", N_("Edit"), N_("Edit this host")),
        keys.named("group", N_("Room"), N_("Put it into a room, or into none")),
        keys.named("wake", N_("Wake"), N_("Wake it over the network")),
        keys.named("seal", N_("Seal"), N_("Seal it, or lift its seal")),
        keys.named("remove", N_("Remove"), N_("Forget it")),
        keys.named("log", N_("Log"), N_("The log of its newest task")),
        keys.named("history", N_("Tasks"), N_("Show its newest task among all tasks")),
    )

    def __init__(self, host_id: int) -> None:
        super().__init__()
        self._number = host_id
        self._found = Found()
        self._seen: tuple[Any, ...] = ()

    def body(self) -> ComposeResult:
        yield Board(id="page")

    def first_focus(self) -> str:
        return "#page"

    @property
    def host(self) -> Host | None:
        """The host, while it is there."""
        return self.snapshot.host_by_id.get(self._number)

    def show(self, snapshot: Snapshot) -> None:
        task = snapshot.task_of_host.get(self._number)
        seen = (self.host, task and (task.id, task.state, task.attempts))
        if seen != self._seen:
            self._seen = seen
            number, macs = self._number, self.host.macs if self.host else ()
            self.session.fetch(lambda store: read(store, number, macs), self._read, group=f"host-{number}")
        self._draw()

    def _read(self, found: Found) -> None:
        self._found = found
        if self.is_there:
            self._draw()

    def _draw(self) -> None:
        board = self.query_one("#page", Board)
        width = board.size.width - 2
        if width > 0:
            board.put(page_lines(self.snapshot, self.host, self._found, width))

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    # -- actions

    def on_board_opened(self, event: Board.Opened) -> None:
        from appliance.tui.screens.tasks import TaskPage

        self.app.push_screen(TaskPage(event.target))

    def do_edit(self) -> None:
        if self.host is not None:
            hosts_forms.edit(self, self.host)

    def do_group(self) -> None:
        hosts_actions.assign(self, self._one(), _nothing)

    def do_wake(self) -> None:
        hosts_actions.wake(self, self._one(), _nothing)

    def do_seal(self) -> None:
        hosts_actions.seal(self, self._one(), _nothing)

    def do_remove(self) -> None:
        hosts_actions.remove(self, self._one(), _nothing)

    def do_log(self) -> None:
        from appliance.tui.screens.tasks import TaskPage

        if self._found.tasks:
            self.app.push_screen(TaskPage(self._found.tasks[0].id, at_log=True))
        else:
            self.console.say(_("It has had no task."))

    def do_history(self) -> None:
        if self._found.tasks:
            self.console.show_thing("task", self._found.tasks[0].id)
        else:
            self.console.say(_("It has had no task."))

    def do_capture(self) -> None:
        self._job("capture")

    def do_deploy(self) -> None:
        self._job("deploy")

    def _job(self, name: str) -> None:
        if self.host is not None:
            self.console.open_job(name, (self.host.name,))

    def _one(self) -> list[Host]:
        return [] if self.host is None else [self.host]


def _nothing() -> None:
    """Nothing is marked here."""


# -- lines ------------------------------------------------------------------------------------------------------------


def page_lines(snapshot: Snapshot, host: Host | None, found: Found, width: int) -> list[BoardLine]:
    """The whole page in `width` cells."""
    if host is None:
        return [BoardLine(EMPTY_LINE), BoardLine(((" " + _("This host is not there any more."), "warn"),))]
    task = snapshot.task_of_host.get(host.id) or (found.tasks[0] if found.tasks else None)
    lines = [_title(snapshot, host, width), EMPTY_LINE]
    lines += _life(snapshot, task, found, width)
    shown = [BoardLine(line) for line in lines]
    shown += [BoardLine(EMPTY_LINE), BoardLine(_head(_("Tasks")))]
    shown += [BoardLine(_task_line(snapshot, one, width), one.id) for one in _tasks(snapshot, found)]
    if not found.tasks:
        shown.append(BoardLine(((" " + _("It has had no task."), "dim"),)))
    rest = [EMPTY_LINE, _head(_("Identity")), *_facts(_identity(snapshot, host), width)]
    rest += [EMPTY_LINE, _head(_("Inventory")), *_inventory(found.inventory, width)]
    return shown + [BoardLine(line) for line in rest]


def _head(text: str) -> Line:
    return ((f" {text}", "title"),)


def _title(snapshot: Snapshot, host: Host, width: int) -> Line:
    pieces: list[tuple[str, str]] = [(f" {clean(host.name)}", "strong")]
    if host.room:
        pieces.append((f"  {_('room')} {clean(host.room)}", ""))
    if host.sealed:
        pieces.append(("  ■ " + _("sealed"), "warn"))
    holds = snapshot.version_name(host.version_id)
    if holds:
        pieces.append(("  " + _("holds {version}").format(version=holds), ""))
    return tuple(pieces)


def _life(snapshot: Snapshot, task: Task | None, found: Found, width: int) -> list[Line]:
    sighting = found.sighting
    events = found.events if task and found.tasks and found.tasks[0].id == task.id else ()
    steps = host_life.life(sighting, task, events)
    lines: list[Line] = []
    if sighting is not None:
        text = _("Last heard {moment}, {ago} ago, by {mac}").format(
            moment=words.moment(sighting.at, snapshot.at), ago=words.ago(sighting.at, snapshot.at), mac=sighting.mac
        )
        lines.append(((f" {text}", ""),))
    else:
        lines.append(((" " + _("It has never booted from the network here."), "dim"),))
    lines += [((" ", ""), *line) for line in host_life.lines(steps, width - 1)]
    if task is not None and task.error:
        lines += [((f" {part}", "bad"),) for part in wrap(clean(sentences.translate(task.error)), width - 1)]
        lines += [((f" {part}", ""),) for part in wrap(clean(sentences.translate(task.remedy)), width - 1)]
    return lines


def _tasks(snapshot: Snapshot, found: Found) -> list[Task]:
    return [snapshot.task(task.id) or task for task in found.tasks]


def _task_line(snapshot: Snapshot, task: Task, width: int) -> Line:
    when = words.moment(task.finished or task.started or task.created, snapshot.at)
    state = f"{words.STATE_SHAPES[task.state]} {words.state(task)}"
    done = words.percent(words.fraction(task)) if task.total_bytes else ""
    why = sentences.translate(task.error or task.phase)
    head = f" {fit(when, 16)}  {fit(_(words.KINDS[task.kind]), 11)} {fit(snapshot.task_target(task), 16)}  "
    return ((head, ""), (fit(state, 13), words.STATE_ROLES[task.state]), (f" {done:>5}  {clean(why)}", ""))


def _identity(snapshot: Snapshot, host: Host) -> list[tuple[str, str]]:
    reserved = [str(item.address) for item in snapshot.reservations if item.mac in host.macs]
    return [
        (_("MAC addresses"), ", ".join(host.macs)),
        (_("SMBIOS UUID"), str(host.uuid or "")),
        (_("Firmware"), words.firmware(host)),
        (_("Address"), host.ip),
        (_("Reserved"), ", ".join(reserved)),
        (_("Disk to use"), host.disk or _("its only fixed one")),
        (_("Own disk started"), _(words.LOCAL_BOOT[host.local_boot])),
        (_("Loader under UEFI"), _(words.LOADERS[host.uefi_loader])),
        (_("Known since"), words.day(host.created)),
        (_("Notes"), host.notes),
    ]


def _facts(pairs: list[tuple[str, str]], width: int) -> list[Line]:
    lines: list[Line] = []
    for name, value in pairs:
        for number, part in enumerate(wrap(clean(value), max(20, width - _LABEL - 2)) if value else []):
            lines.append(((f" {fit('' if number else name, _LABEL)} ", "dim"), (part, "")))
    return lines


def _inventory(inventory: Inventory | None, width: int) -> list[Line]:
    if inventory is None:
        return [((" " + _("None yet: the agent writes it when the PC boots it."), "dim"),)]
    data = inventory.data
    model = " ".join(str(data.get(key) or "") for key in ("vendor", "model", "serial")).strip()
    memory = data.get("memory_bytes")
    threads = data.get("cpu_threads")
    cpu = str(data.get("cpu") or "") + (f", {_('{n} threads').format(n=threads)}" if threads else "")
    pairs = [
        (_("Model"), model),
        (_("BIOS"), str(data.get("bios_version") or "")),
        (_("Processor"), cpu),
        (_("Memory"), words.size(memory) if isinstance(memory, int) and memory else ""),
    ]
    pairs += [(_("Disk {n}").format(n=number), text) for number, text in enumerate(disks(data), 1)]
    pairs += [(_("Network card"), text) for text in cards(data)]
    pairs.append((_("Written"), words.moment(inventory.at)))
    return _facts(pairs, width)


def disks(data: dict[str, Any]) -> list[str]:
    """The disks of an inventory: `/dev/nvme0n1 512 GB nvme Samsung 980 S5GX...`."""
    found = []
    for disk in data.get("disks") or []:
        parts = [disk.get("path"), words.size(disk.get("size_bytes") or 0), disk.get("bus"), disk.get("model")]
        parts += [disk.get("serial"), _("removable") if disk.get("removable") else ""]
        found.append(" ".join(str(part).strip() for part in parts if part))
    return found


def cards(data: dict[str, Any]) -> list[str]:
    """The network cards of an inventory: `eth0 52:54:00:aa:01:01`."""
    return [f"{card.get('name', '')} {card.get('mac', '')}".strip() for card in data.get("nics") or []]

"""Overview: what is going on, and what needs the operator."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from textual.app import ComposeResult

from appliance.events import CastState, TaskKind, TaskState
from appliance.model import Cast, Task
from appliance.tui import attention, keys, words
from appliance.tui.attention import JOB, SCREEN
from appliance.tui.i18n import N_, _, ngettext
from appliance.tui.keys import Key
from appliance.tui.screens.base import NumberedScreen
from appliance.tui.screens.table import CAST, HOST, SCREENS, TASK
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.bar import bar, spark
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import EMPTY_LINE, Board, BoardLine, Line, cut, spread, width_of

SERVICES = ("dhcp", "tftp", "http", "nfs", "cast", "scheduler")
_MOST_NEEDS = 6  # on a small screen; the rest is counted
_AROUND = 32  # cells of percent, rate and time left
_NAME = 24  # least cells of what it is about
_MOST_NAME = 60  # so that its bar is not far away
_BAR = 16  # cells in 80 columns
_MODES = {"full": N_("full DHCP"), "proxy": N_("proxy DHCP"), "off": N_("no DHCP")}
_ORDER = (TaskState.RUNNING, TaskState.VERIFYING, TaskState.BOOTING, TaskState.WAITING, TaskState.SCHEDULED)


class OverviewScreen(NumberedScreen):
    """See the module."""

    NAME = "overview"
    ABOUT = N_(
        "What is going on, and what needs you. The arrows go to the lines that lead somewhere, Enter opens them: a"
        " failed task with its reason and remedy, a cast, a PC."
    )
    KEYS: ClassVar[tuple[Key, ...]] = keys.take("move", "open")

    def body(self) -> ComposeResult:
        yield Board(id="board")

    def first_focus(self) -> str:
        return "#board"

    def show(self, snapshot: Snapshot) -> None:
        board = self.query_one("#board", Board)
        width, height = board.size
        if width:
            settings = self.console.settings
            board.put(overview_lines(snapshot, width, height, settings.dhcp.mode))

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.show(self.snapshot))

    def on_board_opened(self, event: Board.Opened) -> None:
        kind, key = event.target
        if kind == SCREEN:
            self.console.go(key)
        elif kind == JOB:
            self.console.open_job(*key)
        else:
            self.console.show_thing(kind, key)


def overview_lines(snapshot: Snapshot, width: int, height: int, dhcp_mode: str) -> list[BoardLine]:
    """The whole screen for that many cells."""
    if not snapshot.loaded:
        return [] if snapshot.trouble else [BoardLine(((" " + _("Reading the store ..."), "dim"),))]
    head = [_services_line(snapshot, width), _network_line(snapshot, width, dhcp_mode), *_history(snapshot, width)]
    lines = [BoardLine(line) for line in head] + [BoardLine(EMPTY_LINE)]
    lines += _needs_lines(snapshot, width, height, dhcp_mode)
    lines += [BoardLine(((" " + _("Running"), "title"),)), *_running_lines(snapshot, width, height - len(lines) - 3)]
    lines += [BoardLine(EMPTY_LINE), BoardLine(_last_hour(snapshot))]
    return lines


def _target(kind: str, key: Any) -> tuple[str, Any] | None:
    """Only what a screen can show leads anywhere."""
    if kind == JOB:
        return (kind, key)
    if kind == SCREEN:
        return (kind, key) if any(entry.name == key for entry in SCREENS) else None
    return (kind, key) if any(kind in entry.kinds for entry in SCREENS) else None


def _label(text: str) -> tuple[str, str]:
    return f" {fit(text, 10)} ", "title"


def _services_line(snapshot: Snapshot, width: int) -> Line:
    states = {service.name: service.state for service in snapshot.services}
    names = [name for name in SERVICES if name in states] + [name for name in states if name not in SERVICES]
    if not names:
        return (_label(_("Services")), (_("none has ever run"), "warn"))
    right = _disk(snapshot)
    one_by_one: list[tuple[str, str]] = [_label(_("Services"))]
    for name in names:
        one_by_one += [(f"{name} ", ""), (_(words.HEALTH[states[name]]) + "  ", words.HEALTH_ROLES[states[name]])]
    if width_of(tuple(one_by_one)) + width_of(right) <= width:
        return spread(tuple(one_by_one), right, width)
    grouped: list[tuple[str, str]] = [_label(_("Services"))]
    for health in dict.fromkeys(states[name] for name in names):
        grouped.append((" ".join(name for name in names if states[name] is health) + " ", ""))
        grouped.append((_(words.HEALTH[health]) + "  ", words.HEALTH_ROLES[health]))
    return spread(tuple(grouped), right if width_of(tuple(grouped)) + width_of(right) <= width else (), width)


def _disk(snapshot: Snapshot) -> Line:
    disk = snapshot.gauges.disk
    if not disk.total_bytes:
        return ()
    used = words.size(disk.total_bytes - disk.free_bytes)
    text = _("images {used} of {total}").format(used=used, total=words.size(disk.total_bytes))
    return ((text + " ", "bad" if disk.used >= attention.FULL else ""),)


def _network_line(snapshot: Snapshot, width: int, dhcp_mode: str) -> Line:
    alone = not any(snapshot.at - server.at < attention.SERVER_FOR for server in snapshot.servers)
    mode = _(_MODES[dhcp_mode])
    if dhcp_mode == "full":
        mode += ", " + (_("alone") if alone else _("not alone"))
    pieces: list[tuple[str, str]] = [_label(_("Network"))]
    speed = sent = 0.0
    for link in snapshot.gauges.links[:2]:
        pieces.append((f"{link.name} {link.address or _('no address')}  ", "" if link.up else "bad"))
        speed += link.speed_mbit
        sent += link.sent_bytes_s
    pieces.append((mode, "" if alone or dhcp_mode != "full" else "bad"))
    text = _("{rate} of {speed}").format(rate=words.number(sent * 8 / 1e6), speed=f"{words.number(speed)} Mbit/s")
    right: Line = (
        (*bar(sent * 8 / 1e6 / speed, 10 if width >= 100 else 5), (f" {text} ", ""))
        if speed
        else ((words.mbit(sent) + " ", ""),)
    )
    return spread(tuple(pieces), right, width)


def _history(snapshot: Snapshot, width: int) -> list[Line]:
    """The last minutes of network and disk, side by side."""
    cells = max(8, (width - 54) // 2)
    if not snapshot.gauges.sent:
        return []
    pieces: list[tuple[str, str]] = [_label(_("Minutes"))]
    for name, values in ((_("net"), snapshot.gauges.sent), (_("disk"), snapshot.gauges.written)):
        latest = values[-1] if values else 0.0
        pieces += [(f"{name} ", "dim"), *spark(values, cells)[0], (f" {words.rate(latest):>10}  ", "")]
    return [cut(tuple(pieces), width)]


def _needs_lines(snapshot: Snapshot, width: int, height: int, dhcp_mode: str) -> list[BoardLine]:
    found = attention.needs(snapshot, dhcp_mode)
    if not found:
        return []
    most = max(_MOST_NEEDS, height // 3)
    lines = [BoardLine(((" " + _("Needs you"), "title"),))]
    for need in found[:most]:
        text = fit(clean(need.text), width - 4).rstrip()
        lines.append(BoardLine(((" ! ", need.role), (text, "")), _target(*need.target) if need.target else None))
    if len(found) > most:
        more = _("and {n} more").format(n=words.number(len(found) - most))
        lines.append(BoardLine(((f"   {more}", "dim"),)))
    return [*lines, BoardLine(EMPTY_LINE)]


def _running_lines(snapshot: Snapshot, width: int, room: int) -> list[BoardLine]:
    casts = [cast for cast in snapshot.casts if cast.state is CastState.OPEN]
    in_casts = {cast.id for cast in casts}
    alone = [task for task in snapshot.open_tasks if task.cast_id not in in_casts and not task.held]
    alone.sort(key=lambda task: (_ORDER.index(task.state), task.id))
    lines = [BoardLine(_cast_line(snapshot, cast, width), _target(CAST, cast.id)) for cast in casts]
    lines += [BoardLine(_task_line(snapshot, task, width), _target(TASK, task.id)) for task in alone]
    for sighting in attention.booting(snapshot):
        host = next((host for host in snapshot.hosts if host.name == sighting.host_name), None)
        text = _("{stage} at {time}, {ago} ago").format(
            stage=words.stage(sighting.stage), time=words.clock(sighting.at), ago=words.ago(sighting.at, snapshot.at)
        )
        who = sighting.host_name or sighting.mac
        line: Line = (
            (fit(" " + _("boot"), _kind_width()), "busy"),
            (fit(clean(who), min(18, _name_width(width))) + "  ", ""),
            (text, ""),
        )
        lines.append(BoardLine(cut(line, width), _target(HOST, host.id) if host else None))
    if not lines:
        return [BoardLine(((" " + _("Nothing."), "dim"),))]
    room = max(4, room)
    if len(lines) > room:
        more = _("and {n} more").format(n=words.number(len(lines) - room + 1))
        lines = [*lines[: room - 1], BoardLine(((f" {more}", "dim"),))]
    return lines


def _cast_line(snapshot: Snapshot, cast: Cast, width: int) -> Line:
    members = snapshot.members.get(cast.id, ())
    total = sum(member.total for member in members)
    share = sum(member.written for member in members) / total if total else 0.0
    what = f"{snapshot.version_name(cast.version_id)}  {cast.present}/{len(members)} {_('PCs')}"
    state = _("waits for PCs") if cast.waiting else words.rate(cast.rate_bytes_s)
    left = ""
    version = snapshot.version_by_id.get(cast.version_id)
    if version is not None and cast.rate_bytes_s > 0 and total:
        slowest = min((member.written / member.total for member in members if member.total), default=0.0)
        left = words.duration((1 - slowest) * version.used_bytes / cast.rate_bytes_s)
    return _bar_line(_("cast"), what, share, state, left, width)


def _task_line(snapshot: Snapshot, task: Task, width: int) -> Line:
    arrow = "<-" if task.kind is TaskKind.CAPTURE else "->"
    target = snapshot.task_target(task)
    what = f"{target} <- {words.subject(task)}" if arrow == "<-" else f"{words.subject(task)} <- {target}"
    if task.state is not TaskState.RUNNING:
        kind, room = fit(f" {_(words.KINDS[task.kind])}", _kind_width()), _name_width(width)
        line: Line = ((kind, "busy"), (fit(clean(what), room) + " ", ""))
        return cut((*line, (words.state(task), words.STATE_ROLES[task.state])), width)
    left = words.seconds_left(task)
    shown = words.duration(left) if left is not None else ""
    return _bar_line(_(words.KINDS[task.kind]), what, words.fraction(task), words.rate(task.rate_bytes_s), shown, width)


def _kind_width() -> int:
    """Cells of the first column, in the language in use."""
    return 2 + max(len(_(word)) for word in (N_("capture"), N_("deploy"), N_("cast"), N_("boot")))


def _bar_width(width: int) -> int:
    """Cells of a bar, so that names have theirs."""
    return max(8, min(_BAR + (width - 80) // 2, width - _AROUND - _kind_width() - 1 - _NAME, 50))


def _name_width(width: int) -> int:
    """Cells for what a line is about."""
    return max(8, min(_MOST_NAME, width - _AROUND - _kind_width() - 1 - _bar_width(width)))


def _bar_line(kind: str, what: str, share: float, state: str, left: str, width: int) -> Line:
    line: Line = (
        (fit(f" {kind}", _kind_width()), "busy"),
        (fit(clean(what), _name_width(width)) + " ", ""),
        *bar(share, _bar_width(width)),
        (f" {words.percent(share)}  {state:>9}  ", ""),
        (fit(_("{time} left").format(time=left) if left else "", 13), "dim"),
    )
    return cut(line, width)


def _last_hour(snapshot: Snapshot) -> Line:
    since = snapshot.at - timedelta(hours=1)
    ended = [task.state for task in snapshot.ended_tasks if task.finished is not None and task.finished >= since]
    done, failed, cancelled = map(ended.count, (TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED))
    texts = (
        (TaskState.DONE, done, ngettext("{n} done", "{n} done", done)),
        (TaskState.FAILED, failed, ngettext("{n} failed", "{n} failed", failed)),
        (TaskState.CANCELLED, cancelled, ngettext("{n} cancelled", "{n} cancelled", cancelled)),
    )
    pieces: list[tuple[str, str]] = [(" " + _("Last hour") + "  ", "title")]
    for state, count, text in texts:
        role = words.STATE_ROLES[state] if count else "dim"
        pieces.append((f"{words.STATE_SHAPES[state]} {text.format(n=count)}   ", role))
    return tuple(pieces)

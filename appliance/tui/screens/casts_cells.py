"""A cast in words: each of its PCs as a cell of the room, its figures, and what is wrong with the network.

How a PC fares is a sentence of the cast service (`CastMember.status`); its beginnings stand in `_STATUS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.events import CastState, TaskState
from appliance.model import Cast, CastMember, Host, Task
from appliance.tui import sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, wrap

_NFS = "by NFS: "
_DEAF = "multicast does not arrive"  # there: the sender's words; here: the agent's
_STORM = 0.02  # loss of all PCs together from which the switch is looked at

# Beginning of the service's sentence -> shape, word, role; the first that fits.
_STATUS: tuple[tuple[str, str, str, str], ...] = (
    ("complete", "▸", N_("complete"), "ok"),
    ("has left", "─", N_("has left"), "warn"),
    (_NFS, "▒", N_("NFS"), "warn"),
    ("silent", "▲", N_("silent"), "bad"),
    ("waits for more PCs", "░", N_("waits"), "dim"),
    ("by multicast, slower", "▸", N_("cast, slow"), "warn"),
    ("by multicast", "▸", N_("cast"), "busy"),
)
# Why a PC goes on by NFS: beginning of the service's words -> short enough for a cell, and in full.
_WHY: tuple[tuple[str, str, str], ...] = (
    (_DEAF, N_("no multicast"), N_("by NFS: multicast does not arrive there")),
    ("its disk takes less", N_("slow disk"), N_("by NFS: its disk takes less than half of the cast's rate")),
    ("it alone asked", N_("asks again and again"), N_("by NFS: it alone asked for the same chunk again and again")),
    ("the operator dropped it", N_("dropped"), N_("by NFS: an operator dropped it")),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One PC of a cast. `host` is what guided jobs take from here."""

    member: CastMember
    task: Task | None
    host: Host | None
    share: float  # written, 0 to 1
    shape: str
    how: str  # message id
    why: str  # message id, short; empty: nothing to tell
    role: str

    @property
    def name(self) -> str:
        """The PC's name."""
        return self.member.host_name

    @property
    def is_open(self) -> bool:
        """Whether its task goes on."""
        return not self.member.task_state.is_final

    @property
    def in_trouble(self) -> bool:
        """Whether somebody should look."""
        return self.role in ("warn", "bad")


def cells(snapshot: Snapshot, members: Iterable[CastMember]) -> list[Cell]:
    """The PCs of a cast as cells."""
    members = tuple(members)
    numbers = {member.task_id for member in members}
    tasks = {task.id: task for task in (*snapshot.open_tasks, *snapshot.ended_tasks) if task.id in numbers}
    return [_cell(snapshot, member, tasks.get(member.task_id)) for member in members]


def _cell(snapshot: Snapshot, member: CastMember, task: Task | None) -> Cell:
    host = snapshot.host_by_id.get(task.host_id) if task is not None and task.host_id is not None else None
    state = task.state if task is not None else member.task_state
    share = 1.0 if state is TaskState.DONE else member.written / member.total if member.total else 0.0
    if state is TaskState.RUNNING:
        status = _NFS if member.dropped else member.status  # the service needs a moment to hear of it
        unknown = ("", "▸", member.status or N_("not heard yet"), "dim")
        _begins, shape, how, role = next((row for row in _STATUS if status.startswith(row[0])), unknown)
        return Cell(member, task, host, share, shape, how, _why(member), role)
    shape, how, role = words.STATE_SHAPES[state], words.STATES[state], words.STATE_ROLES[state]
    return Cell(member, task, host, share, shape, how, "", role)


def _why(member: CastMember) -> str:
    if member.dropped:
        return N_("dropped")
    if not member.status.startswith(_NFS):
        return ""
    reason = member.status.removeprefix(_NFS)
    return next((short for begins, short, _full in _WHY if reason.startswith(begins)), "")


def how(cell: Cell) -> str:
    """How a PC is served, or how it ended, for one line of a cell: `cast`, `NFS: slow disk`, `done 6:02`."""
    if cell.member.task_state is TaskState.DONE and cell.task is not None and cell.task.started:
        return f"{_('done')} {_took(cell.task)}"
    text = _(cell.how) + (f": {_(cell.why)}" if cell.why else "")
    return f"{_('first')}, {text}" if cell.member.preferred and cell.is_open else text


def _took(task: Task) -> str:
    assert task.started is not None
    return words.duration((task.finished - task.started).total_seconds()) if task.finished else ""


def percent(cell: Cell) -> str:
    """` 78 %`."""
    return words.percent(cell.share)


def in_full(cell: Cell) -> str:
    """All that is known of a PC's part in the cast, in one line."""
    member, parts = cell.member, [cell.name]
    if member.total:
        parts.append(_("{percent} written").format(percent=words.percent(cell.share).strip()))
    if member.task_state is not TaskState.RUNNING:
        parts.append(_(words.STATES[member.task_state]))
    else:
        parts.append(_reason(member) if member.status.startswith(_NFS) else _(cell.how))
    if member.loss >= 0.0005:
        parts.append(_("{percent} % lost on the way").format(percent=words.number(100 * member.loss, 1)))
    if member.preferred:
        parts.append(_("served first"))
    if member.dropped:
        parts.append(_("dropped by you or another operator"))
    if cell.task is not None and cell.task.error:
        parts.append(sentences.translate(cell.task.error))
    return ", ".join(parts)


def _reason(member: CastMember) -> str:
    reason = member.status.removeprefix(_NFS)
    full = next((full for begins, _short, full in _WHY if reason.startswith(begins)), "")
    return _(full) or _("by NFS: {why}").format(why=sentences.translate(reason))


# -- the cast as a whole ----------------------------------------------------------------------------------------------


def state_text(cast: Cast) -> str:
    """What a cast does, in some words."""
    if cast.state is CastState.ENDED:
        return f"■ {_('ended')}"
    if cast.waiting:
        return f"░ {_('waits')}"
    return f"▸ {_('sends')}" if cast.present else f"─ {_('nobody there')}"


def state_role(cast: Cast) -> str:
    """The role of `state_text`."""
    if cast.state is CastState.ENDED:
        return "dim"
    return "busy" if cast.present and not cast.waiting else ""


def share_of(members: Sequence[CastMember]) -> float:
    """How much of the room is written, 0 to 1."""
    if not members:
        return 0.0
    done = (
        1.0 if m.task_state is TaskState.DONE else m.written / m.total if m.total else 0.0
        for m in members
        if m.task_state not in (TaskState.FAILED, TaskState.CANCELLED)
    )
    return sum(done) / len(members)


def figures(snapshot: Snapshot, cast: Cast, members: Sequence[CastMember], ceiling_mbit: int, width: int) -> list[Line]:
    """What was sent against the image's size, rate and ceiling, loss and repair, forged answers; what it waits for."""
    version = snapshot.version_by_id.get(cast.version_id)
    sent = _("{sent} sent").format(sent=words.size(cast.sent_bytes))
    if version is not None and version.stored_bytes:
        times = words.number(cast.sent_bytes / version.stored_bytes, 2)
        sent += _(", {times} times the image's {size}").format(times=times, size=words.size(version.stored_bytes))
    parts = [sent, _("{size} of it for repair").format(size=words.size(cast.parity_bytes))]
    limit = cast.rate_mbit or ceiling_mbit
    ceiling = (_("limited to {mbit} Mbit/s") if cast.rate_mbit else _("at most {mbit} Mbit/s")).format(
        mbit=words.number(limit)
    )
    rate = [f"{words.rate(cast.rate_bytes_s)} ({words.mbit(cast.rate_bytes_s)})", ceiling, *_loss(members)]
    if cast.forged:
        rate.append(_("{n} forged answers dropped").format(n=words.number(cast.forged)))
    if cast.refused or cast.replayed:
        rate.append(_("{n} stray answers dropped").format(n=words.number(cast.refused + cast.replayed)))
    lines: list[Line] = [((f" {clean(text)}", ""),) for text in (", ".join(parts), ", ".join(rate))]
    return [*lines, *hints(snapshot, cast, members, width)]


def _loss(members: Sequence[CastMember]) -> list[str]:
    here = [member for member in members if member.task_state is TaskState.RUNNING and member.total]
    if not here:
        return []
    mean, worst = sum(member.loss for member in here) / len(here), max(here, key=lambda member: member.loss)
    text = _("loss {percent} %").format(percent=words.number(100 * mean, 1))
    if worst.loss > 2 * mean and worst.loss >= 0.001:
        text += _(" ({host} {percent} %)").format(host=worst.host_name, percent=words.number(100 * worst.loss, 1))
    return [text]


def hints(snapshot: Snapshot, cast: Cast, members: Sequence[CastMember], width: int) -> list[Line]:
    """What the operator should know: why it ended, what it waits for, a network that keeps multicast away."""
    texts: list[tuple[str, str]] = []
    if cast.state is CastState.ENDED:
        when, why = words.moment(cast.ended, snapshot.at), sentences.translate(cast.why)
        texts.append((_("Ended {time}: {why}.").format(time=when, why=why), ""))
    if cast.waiting:
        text = _("Waits for {pcs}, {n} are there; it begins {seconds} s after the first. b begins now.")
        pcs = words.pcs(cast.wait_for or len(members))
        texts.append((text.format(pcs=pcs, n=cast.present, seconds=cast.wait_seconds), "warn"))
    here = [member for member in members if not member.task_state.is_final]
    deaf = sum(member.status.startswith(_NFS + _DEAF) for member in here)
    if deaf and cast.state is CastState.OPEN:
        text = _(
            "Multicast does not arrive at {pcs}: IGMP snooping without a querier in the switch. Let the switch be the"
            " querier, or switch snooping off in this VLAN. They go on by NFS and come back by themselves."
        )
        texts.append((text.format(pcs=words.pcs(deaf)), "warn"))
    if cast.broadcast:
        text = _(
            "It goes to the broadcast address, because most PCs hear no multicast group: see to IGMP in the switch."
        )
        texts.append((text, "warn"))
    loss = sorted(member.loss for member in here if member.total)
    if len(loss) > 1 and loss[0] >= _STORM:
        text = _(
            "All PCs lose frames: the switch drops them. Look at its storm control for multicast, or limit with m."
        )
        texts.append((text, "warn"))
    return [((f" {part}", role),) for text, role in texts for part in wrap(clean(text), max(20, width - 2))]

"""A PC's way through one task, step by step with the time of each, and what to check when a step does not come.

Pure functions of a snapshot: the store's sightings say how far the PC's boot came, the task says the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance.events import BootStage, ServiceHealth, TaskKind, TaskState
from appliance.model import Sighting, Task
from appliance.tui import sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.bar import bar
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import Line, cut

HINT_AFTER = timedelta(seconds=60)  # a firmware takes half a minute to its first DHCP request, a kernel to its agent
SILENT_AFTER = timedelta(seconds=60)  # an agent reports every few seconds
SERVER_FOR = timedelta(minutes=15)  # how long another DHCP server is thought to be there
_NEEDED = ("dhcp", "tftp", "http", "nfs", "scheduler")  # services without which no PC gets through
_GONE = (ServiceHealth.STOPPED, ServiceHealth.FAILED, ServiceHealth.SILENT)

_WORK = {TaskKind.CAPTURE: N_("reads its disk"), TaskKind.DEPLOY: N_("writes its disk")}
_CELLS = 20  # of a step's name
_BOOT: tuple[tuple[BootStage, str], ...] = (
    (BootStage.DHCP, N_("asked for address")),
    (BootStage.LOADER, N_("loader")),
    (BootStage.KERNEL, N_("kernel")),
    (BootStage.AGENT, N_("agent")),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way. `at` may be unknown for one that was taken."""

    name: str  # in the language in use
    taken: bool
    at: datetime | None = None


def sighting_of(snapshot: Snapshot, task: Task) -> Sighting | None:
    """The boot of the task's PC since the task was ordered; of the newest unknown PC when it waits for that."""
    since = _since(task)
    host = snapshot.host_by_id.get(task.host_id) if task.host_id is not None else None
    macs = host.macs if host is not None else ()
    found = [
        sighting
        for sighting in snapshot.sightings
        if sighting.at >= since and (sighting.mac in macs if task.host_id is not None else not sighting.host_name)
    ]
    return max(found, key=lambda sighting: sighting.at, default=None)


def _since(task: Task) -> datetime:
    found = task.start_at if task.start_at and task.state is not TaskState.SCHEDULED else task.created
    assert found is not None
    return found


def steps(snapshot: Snapshot, task: Task, verifying: datetime | None = None) -> list[Step]:
    """The whole way, taken or not. `verifying` is when the box began to check, if that is known."""
    sighting, since = sighting_of(snapshot, task), _since(task)
    at = {stage: when for stage, when in (sighting.steps if sighting else ()) if when >= since - timedelta(minutes=2)}
    at.setdefault(BootStage.KERNEL, at[BootStage.INITRD]) if BootStage.INITRD in at else None
    if task.started is not None:
        at[BootStage.AGENT] = task.started
    furthest = max((i for i, (stage, _name) in enumerate(_BOOT) if stage in at), default=-1)
    way = [Step(_(name), i <= furthest, at.get(stage)) for i, (stage, name) in enumerate(_BOOT)]
    read = task.state in (TaskState.VERIFYING, TaskState.DONE)
    way.append(Step(_(_WORK[task.kind]), read, None))
    way.append(Step(_("verify"), task.state is TaskState.DONE, verifying))
    way.append(Step(_("done"), task.state is TaskState.DONE, task.finished if task.state is TaskState.DONE else None))
    return way


def step_lines(snapshot: Snapshot, task: Task, width: int, verifying: datetime | None = None) -> list[Line]:
    """The way, a line each: `● loader  12:00:05`; the one at hand with its progress, what failed with its shape."""
    lines: list[Line] = []
    here = False
    for index, step in enumerate(steps(snapshot, task, verifying)):
        if step.taken:
            shape, role = "●", "ok"
        elif not here and not task.state.is_final:
            here, shape, role = True, "▸", "busy"
        elif not here:
            here, shape = True, words.STATE_SHAPES[task.state]
            role = words.STATE_ROLES[task.state]
        else:
            shape, role = " ", "dim"
        line: Line = ((f" {shape} ", role), (fit(step.name, _CELLS) + " ", "" if role != "dim" else "dim"))
        if step.at is not None:
            line = (*line, (words.clock(step.at) + "  ", ""))
        if index == len(_BOOT) and task.state is TaskState.RUNNING:
            line = (*line, *_progress(task, width))
        lines.append(cut(line, width))
    return lines


def _progress(task: Task, width: int) -> Line:
    """`██████░░░░  28 %  12.3 of 44.0 GB  240 MB/s  2:10 left`."""
    if not task.total_bytes:
        return ((clean(sentences.translate(task.phase)), ""),)
    text = _("{done} of {total}").format(done=words.size(task.done_bytes), total=words.size(task.total_bytes))
    text += f"  {words.rate(task.rate_bytes_s)}" if task.rate_bytes_s else ""
    left = words.seconds_left(task)
    text += "  " + _("{time} left").format(time=words.duration(left)) if left is not None else ""
    cells = max(6, min(40, width - _CELLS - 12 - len(text)))
    return (*bar(words.fraction(task), cells), (f" {words.percent(words.fraction(task))}  {text}", ""))


def last_step(snapshot: Snapshot, task: Task) -> datetime:
    """When something was last heard of the way."""
    taken = [step.at for step in steps(snapshot, task) if step.taken and step.at is not None]
    return max([_since(task), *taken])


def hints(snapshot: Snapshot, task: Task) -> list[str]:
    """What to check, when the next step has not come for a while; services that are down at once."""
    if task.state.is_final or task.state is TaskState.SCHEDULED:
        return []
    found = list(_services(snapshot))
    now = snapshot.at
    if task.state in (TaskState.RUNNING, TaskState.VERIFYING):
        heard = task.last_heard or now
        if task.state is TaskState.RUNNING and now - heard > SILENT_AFTER:
            text = _("The PC has said nothing for {time}: is it switched on, is its cable in?")
            found.append(text.format(time=words.ago(heard, now)))
        return found
    sighting = sighting_of(snapshot, task)
    if sighting is not None and sighting.stage is BootStage.LOCAL and not task.state.is_active:
        return [
            *found,
            _("It has started its own disk. A generalised system has set itself up: run Sysprep again."),
        ]
    waited = now - last_step(snapshot, task)
    if waited < HINT_AFTER:
        return found
    text = _("Nothing for {time}. Check: {what}")
    return [*found, text.format(time=words.ago(now - waited, now), what=_what(snapshot, sighting))]


def _services(snapshot: Snapshot) -> Iterator[str]:
    states = {service.name: service.state for service in snapshot.services}
    for name in _NEEDED:
        if name in states and states[name] in _GONE:
            text = _("The service {name} is {state}: without it no PC starts from the network.")
            yield text.format(name=name, state=_(words.HEALTH[states[name]]))


def _what(snapshot: Snapshot, sighting: Sighting | None) -> str:
    stage = sighting.stage if sighting is not None else None
    if stage is None:
        return _(
            "is it switched on; the cable and the switch's light; the network card first in the firmware's boot order,"
            " its network stack (PXE) on."
        )
    if stage is BootStage.DHCP:
        others = [server.ip for server in snapshot.servers if snapshot.at - server.at < SERVER_FOR]
        if others:
            text = _("it asked for an address, but fetched no loader: another DHCP server ({ip}) may have answered it.")
            return text.format(ip=", ".join(others))
        return _("it asked for an address, but fetched no loader: a firewall, or another DHCP server that answered it.")
    if stage in (BootStage.LOADER, BootStage.SCRIPT):
        return _("it has the loader, but asks for no kernel: its screen; Secure Boot may refuse it.")
    if stage in (BootStage.KERNEL, BootStage.INITRD):
        return _("it has the kernel, but the agent does not call: its screen; 2 GB of memory; its network card.")
    if stage is BootStage.MENU:
        return _("it stands at the menu for unknown PCs: is it the PC that you mean?")
    return _("its screen says more.")

"""The life line of a PC: which steps of its boot and task it has reached, when, and which are still to come.

`DHCP 12:00:01 ▸ loader 12:00:03 ▸ kernel 12:00:05 ▸ agent 12:00:31 ▸ 71 % ▸ verify ▸ done`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from appliance.events import BootStage, TaskState
from appliance.model import Sighting, Task, TaskEvent
from appliance.tui import words
from appliance.tui.i18n import N_, _
from appliance.tui.widgets.lines import Line, Piece

REACHED, NOW, TO_COME, WRONG = "ok", "busy", "dim", "bad"  # roles of the theme
_ARROW = " ▸ "
_SHORT: dict[BootStage, str] = {
    BootStage.DHCP: "DHCP",
    BootStage.LOADER: N_("loader"),
    BootStage.SCRIPT: N_("script"),
    BootStage.KERNEL: N_("kernel"),
    BootStage.INITRD: N_("initrd"),
    BootStage.AGENT: N_("agent"),
    BootStage.LOCAL: N_("own disk"),
    BootStage.REFUSED: N_("refused: sealed"),
    BootStage.MENU: N_("menu"),
}
_TO_THE_AGENT = (BootStage.DHCP, BootStage.LOADER, BootStage.SCRIPT, BootStage.KERNEL, BootStage.AGENT)


@dataclass(frozen=True, slots=True)
class Step:
    """One station. `text` is in the language in use."""

    text: str
    at: datetime | None = None
    role: str = TO_COME


def life(sighting: Sighting | None, task: Task | None, events: Sequence[TaskEvent] = ()) -> list[Step]:
    """The stations of the boot in `sighting` and of `task`, the host's unfinished one or its last.

    What the PC did before the task was given is not the task's; a boot after its end is told without it.
    """
    reached = sighting.steps if sighting else ()
    if task is None:
        return _boot(reached)
    if task.state.is_final:
        later = bool(reached) and task.finished is not None and reached[0][1] > task.finished
        return _boot(reached) if later else [*_boot(reached), *_work(task, events)]
    ours = tuple(step for step in reached if task.created is None or step[1] >= task.created)
    if task.started is not None and BootStage.AGENT not in [stage for stage, _at in ours]:
        ours = (*ours, (BootStage.AGENT, task.started))
    return [*_boot(ours, to_come=True), *_work(task, events)]


def _boot(reached: Sequence[tuple[BootStage, datetime]], *, to_come: bool = False) -> list[Step]:
    """What was reached, and with `to_come` what is left on the way to the agent."""
    found = [Step(_(_SHORT[stage]), at, REACHED) for stage, at in reached]
    stages = [stage for stage, _at in reached]
    if to_come and BootStage.AGENT not in stages:
        if found:
            found[-1] = Step(found[-1].text, found[-1].at, NOW)
        last = max((_TO_THE_AGENT.index(stage) for stage in stages if stage in _TO_THE_AGENT), default=-1)
        found += [Step(_(_SHORT[stage])) for stage in _TO_THE_AGENT[last + 1 :]]
    return found


def _work(task: Task, events: Sequence[TaskEvent]) -> list[Step]:
    """What the agent and the box do."""
    times: dict[TaskState, datetime] = {}
    for event in events:
        times.setdefault(event.state, event.at)
    share = words.percent(words.fraction(task)).strip()
    role = {TaskState.RUNNING: NOW, TaskState.VERIFYING: REACHED, TaskState.DONE: REACHED}
    worked = task.state in role or task.done_bytes > 0
    steps = [Step(share if worked else _(words.KINDS[task.kind]), None, role.get(task.state, TO_COME))]
    verifying = {TaskState.VERIFYING: NOW, TaskState.DONE: REACHED}.get(task.state, TO_COME)
    if task.state in (TaskState.FAILED, TaskState.CANCELLED):
        return [*steps, Step(words.state(task), task.finished, WRONG)]
    steps.append(Step(_("verify"), times.get(TaskState.VERIFYING), verifying))
    done = REACHED if task.state is TaskState.DONE else TO_COME
    return [*steps, Step(_("done"), task.finished, done)]


def lines(steps: Sequence[Step], width: int) -> list[Line]:
    """The stations in lines of at most `width` cells; no station is broken."""
    found: list[Line] = []
    here: list[Piece] = []
    used = 0
    for number, step in enumerate(steps):
        text = step.text + (f" {words.clock(step.at)}" if step.at else "")
        arrow = _ARROW if number else ""
        if here and used + len(arrow) + len(text) > width:
            found.append(tuple(here))
            here, used, arrow = [], 0, _ARROW.lstrip()
        here += [(arrow, "dim"), (text, step.role)]
        used += len(arrow) + len(text)
    return [*found, tuple(here)] if here else found

"""From a task, an order or a setting that stands in the store back to the guided job that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.events import TaskKind
from appliance.model import Task
from appliance.tui.jobs import progress
from appliance.tui.snapshot import Snapshot

if TYPE_CHECKING:
    from appliance.tui.app import ConsoleApp


def take_up(console: ConsoleApp, snapshot: Snapshot, task: Task) -> None:
    """Show the job that a task belongs to: a capture step by step, a deploy with all PCs that were ordered with it."""
    if task.kind is TaskKind.CAPTURE:
        console.open_job("capture", (), task.id)
    elif task.order_id is not None and any(order.id == task.order_id for order in snapshot.orders):
        console.open_job("new_pcs", task.order_id)
    else:
        console.open_job("deploy", (), "", [each.id for each in progress.together(snapshot, task)])

"""`diecast task`: what is being done and what was done."""

from __future__ import annotations

import argparse
from collections import Counter

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument
from appliance.cli.context import Context
from appliance.cli.names import MANY, Known, held_in_words, order_in_words, state_in_words, subject, what_next
from appliance.cli.watch import watch
from appliance.errors import UsageError
from appliance.events import TaskState
from appliance.model import Task


def _how_far(task: Task) -> str:
    if task.state is TaskState.RUNNING and task.total_bytes:
        return f"{100 * task.done_bytes // task.total_bytes} %"
    return "-"


def _list(context: Context, options: argparse.Namespace) -> int:
    tasks = context.store.tasks.list(active_only=options.open, limit=options.limit)
    if options.json:
        context.say(show.as_json(tasks))
        return 0
    if tasks:
        known = Known(context)
        rows = [
            (
                str(task.id),
                str(task.kind),
                subject(task),
                known.target(task),
                "held" if task.held and task.state is TaskState.SCHEDULED else str(task.state),
                _how_far(task),
                show.moment(task.finished or task.started or task.created),
            )
            for task in tasks
        ]
        names = (">ID", "KIND", "HOST", "IMAGE", "STATE", ">DONE", "SINCE")
        context.say(show.table(names, rows, width=context.width))
    else:
        context.say("No task is open." if options.open else "No task has been given yet.")
    for order in context.store.tasks.orders():
        context.say(order_in_words(order))
    for order_id, held in _held(context).items():
        context.say(held_in_words(order_id, held))
    return 0


def _held(context: Context) -> dict[int, int]:
    """Orders whose new PCs wait to be confirmed, and how many do."""
    open_tasks = context.store.tasks.list(active_only=True, limit=MANY)
    return Counter(task.order_id for task in open_tasks if task.held and task.order_id is not None)


def _orders(context: Context, options: argparse.Namespace) -> int:
    orders, held = context.store.tasks.orders(), _held(context)
    known = {order.id for order in orders}
    orders += [context.store.tasks.order(number) for number in sorted(held) if number not in known]
    if options.json:
        context.say(show.as_json([{**show.plain(order), "held": held.get(order.id, 0)} for order in orders]))
        return 0
    if not orders:
        context.say("No order waits for new PCs.")
        return 0
    rows = [
        (
            str(order.id),
            order.image_name,
            order.pattern,
            f"{order.taken} of {order.wanted}",
            str(order.cast_id or "-"),
            str(held.get(order.id, 0) if order.hold else "-"),
            show.moment(order.until),
            show.moment(order.created),
        )
        for order in orders
    ]
    context.say(
        show.table((">ID", "IMAGE", "NAMES", "TAKEN", ">CAST", ">HELD", "UNTIL", "SINCE"), rows, width=context.width)
    )
    return 0


def _show(context: Context, options: argparse.Namespace) -> int:
    task = context.store.tasks.get(options.task)
    events = context.store.tasks.events(task.id)
    log = context.store.tasks.log(task.id)
    if options.json:
        context.say(show.as_json({**show.plain(task), "events": events, "log": log.splitlines()}))
        return 0
    progress = f"{show.size(task.done_bytes)} of {show.size(task.total_bytes)}" if task.total_bytes else ""
    context.say(
        show.facts(
            (
                ("Task", f"{task.id}, {task.kind}"),
                ("Host", subject(task)),
                ("Image", Known(context).target(task)),
                ("State", f"{task.state}" if task.state.is_final else f"{task.state}: {state_in_words(task)}"),
                ("Error", task.error),
                ("Remedy", task.remedy),
                ("Progress", progress),
                ("Sealed", "yes" if task.sealed else ""),
                ("Start", show.moment(task.start_at) if task.start_at else ""),
                ("Wake", "by Wake-on-LAN when it is to start" if task.wake else ""),
                ("Order", str(task.order_id or "")),
                ("Afterwards", str(task.after)),
                ("Cast", f"{task.cast_id}: diecast cast show {task.cast_id}" if task.cast_id else ""),
                ("Agent", f"{task.ip}, {show.count(task.attempts, 'check-in')}" if task.attempts else ""),
                ("Given", show.moment(task.created)),
                ("Started", show.moment(task.started)),
                ("Ended", show.moment(task.finished)),
            )
        )
    )
    context.say("\nEvents")
    for event in events:
        context.say(f"  {show.moment_s(event.at)}  {event.state:9}  {show.clean(event.text)}".rstrip())
    if log:
        context.say("\nThe agent's log")
        for line in log.splitlines():
            context.say(f"  {show.clean(line)}")
    return 0


def _watch(context: Context, options: argparse.Namespace) -> int:
    tasks = context.store.tasks
    if not options.tasks and not tasks.list(active_only=True) and not tasks.orders():
        context.say("No task is open.")
        return 0
    return watch(context, options.tasks)


def _cancel(context: Context, options: argparse.Namespace) -> int:
    if not options.tasks and not options.order:
        raise UsageError("Nothing is named to cancel.", hint="Name tasks, or an order with --order.")
    for number in options.tasks:
        task = context.store.tasks.cancel(number)
        context.record("task cancel", f"task {number}: {task.kind} of {subject(task)}")
        context.say(f"Cancelled task {number}, {task.kind} of {subject(task)}.")
    for number in options.order or []:
        context.store.tasks.cancel_order(number)
        context.record("task cancel", f"order {number}")
        context.say(f"Cancelled order {number}; tasks it has made go on.")
    return 0


def _retry(context: Context, options: argparse.Namespace) -> int:
    known = Known(context)
    for number in options.tasks:
        task = context.store.tasks.retry(number)
        context.record("task retry", f"task {number} as task {task.id}: {task.kind} of {subject(task)}")
        context.say(
            f"Task {task.id}: {task.kind} {known.target(task)}, {subject(task)}, as task {number} before. "
            f"{what_next(task, task.host_name or 'the next unknown PC')}"
        )
    return 0


def _start(context: Context, options: argparse.Namespace) -> int:
    for number in options.tasks:
        task = context.store.tasks.start_now(number)
        context.record("task start", f"task {number}: {task.kind} of {subject(task)}")
        context.say(f"Task {number} starts now. {what_next(task, task.host_name)}")
    return 0


def _release(context: Context, options: argparse.Namespace) -> int:
    tasks = context.store.tasks.release(options.order)
    names = ", ".join(task.host_name for task in tasks)
    if not tasks:
        context.say(f"No new PC of order {options.order} waits to be confirmed.")
        return 0
    context.record("task release", f"order {options.order}: {names}")
    context.say(f"Confirmed {show.count(len(tasks), 'PC')} of order {options.order}: {names}. They are written now.")
    return 0


def _dismiss(context: Context, options: argparse.Namespace) -> int:
    tasks = context.store.tasks.dismiss(options.order)
    names = ", ".join(task.host_name for task in tasks)
    if not tasks:
        context.say(f"No new PC of order {options.order} waits to be confirmed.")
        return 0
    context.record("task dismiss", f"order {options.order}: {names}")
    context.say(f"Sent {show.count(len(tasks), 'PC')} of order {options.order} away: {names}. They stay registered.")
    return 0


_TASKS = argument("tasks", nargs="+", type=int, metavar="TASK", help="their numbers")
_ORDER = argument("order", type=int, metavar="ORDER", help="its number, as diecast task orders shows it")

COMMAND = Command(
    "task",
    "list, show, watch, start, retry and cancel tasks",
    parts=(
        Command(
            "list",
            "list tasks, newest first, and standing orders",
            _list,
            (
                argument("--open", action="store_true", help="only those that have not ended"),
                argument("--limit", type=int, default=200, metavar="N", help="at most so many, the newest (200)"),
                JSON,
            ),
        ),
        Command(
            "show",
            "show one task, its events and the agent's log",
            _show,
            (argument("task", type=int, metavar="TASK", help="its number"), JSON),
        ),
        Command(
            "watch",
            "show progress until tasks have ended; exit with their status",
            _watch,
            (argument("tasks", nargs="*", type=int, metavar="TASK", help="their numbers; none: all open ones"),),
        ),
        Command(
            "cancel",
            "end tasks or standing orders",
            _cancel,
            (
                argument("tasks", nargs="*", type=int, metavar="TASK", help="their numbers"),
                argument(
                    "--order", action="append", type=int, metavar="ORDER", help="a standing order; may be repeated"
                ),
            ),
        ),
        Command("retry", "order again what tasks that have ended were to do", _retry, (_TASKS,)),
        Command("start", "start scheduled tasks now", _start, (_TASKS,)),
        Command("orders", "list standing orders for new PCs", _orders, (JSON,)),
        Command("release", "confirm the new PCs of an order: they are written", _release, (_ORDER,)),
        Command("dismiss", "cancel the tasks of an order's unconfirmed PCs", _dismiss, (_ORDER,)),
    ),
)

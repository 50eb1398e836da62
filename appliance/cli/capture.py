"""`diecast capture`: make an image of a PC's disk."""

from __future__ import annotations

import argparse

from appliance.cli.command import WHEN, Command, argument
from appliance.cli.context import Context
from appliance.cli.names import what_next
from appliance.cli.watch import watch
from appliance.errors import UsageError
from appliance.events import AfterTask
from appliance.when import start_time

_NOTES = """\
The master's disk is only read. --sealed marks the master as generalised (Sysprep): until the
capture is committed it will not be started from its own disk.
"""


def _run(context: Context, options: argparse.Namespace) -> int:
    if bool(options.host) == options.next:
        raise UsageError("Name one host, or give --next.", hint="See: diecast capture --help")
    host = context.store.hosts.get(options.host) if options.host else None
    task = context.store.tasks.capture(
        host,
        options.image,
        sealed=options.sealed,
        after=AfterTask(options.after),
        start_at=start_time(options.at) if options.at else None,
        wake=options.wake,
    )
    whom = task.host_name or "the next unknown PC"
    context.record("capture", f"task {task.id}: {whom} as {task.image_name}")
    sealed = ", sealed" if task.sealed else ""
    context.say(f"Task {task.id}: capture {whom} as {task.image_name}{sealed}. {what_next(task, whom)}")
    return watch(context, [task.id]) if options.wait else 0


COMMAND = Command(
    "capture",
    "capture a PC's disk as a new version of an image",
    _run,
    (
        argument("host", nargs="?", metavar="HOST", help="the master"),
        argument("--next", action="store_true", help="the next unknown PC that boots is the master"),
        argument("--image", required=True, metavar="NAME", help="the image; made if it is new"),
        argument("--sealed", action="store_true", help="the master was generalised"),
        argument(
            "--after",
            choices=[str(x) for x in AfterTask],
            default=str(AfterTask.POWEROFF),
            help="what the master does afterwards (poweroff)",
        ),
        *WHEN,
        argument("--wait", action="store_true", help="show progress until it has ended; exit with its status"),
    ),
    notes=_NOTES,
)

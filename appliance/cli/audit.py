"""`diecast audit`: who changed what."""

from __future__ import annotations

import argparse

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument, whole
from appliance.cli.context import Context


def _run(context: Context, options: argparse.Namespace) -> int:
    events = context.store.audit.list(options.lines)
    if options.json:
        context.say(show.as_json(events))
        return 0
    if not events:
        context.say("Nothing was changed yet.")
        return 0
    rows = [(show.moment_s(event.at), event.actor, event.action, event.detail) for event in reversed(events)]
    context.say(show.table(("WHEN", "WHO", "WHAT", "DETAIL"), rows, width=context.width))
    return 0


COMMAND = Command(
    "audit",
    "show who changed what, the last change at the end",
    _run,
    (
        argument(
            "--lines", "-n", type=whole("number of lines"), default=50, metavar="N", help="the last N changes (50)"
        ),
        JSON,
    ),
)

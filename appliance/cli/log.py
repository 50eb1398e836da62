"""`diecast log`: what the services said."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument, whole
from appliance.cli.context import Context
from appliance.errors import UsageError

if TYPE_CHECKING:
    from appliance.system.logs import LogLine

_NOTES = """\
It is kept by journald, or without systemd in log/diecast.log below paths.state. Where several services
run in one process, lines of what they share name no service; they are left out when one is named.
In the journal lines carry the fields DIECAST_HOST and DIECAST_TASK: journalctl DIECAST_HOST=pc-07
"""


def _run(context: Context, options: argparse.Namespace) -> int:
    from appliance.system import logs, units
    from appliance.system.about import About

    services = units.check(options.services) if options.services else ()
    if options.follow and options.json:
        raise UsageError("--json shows what there is; it does not follow.", hint="Leave one of the two out.")
    source = logs.source(context.settings.paths.state)
    about = About(options.host, options.task)
    lines = source.last(options.lines, services, options.grep, about)
    if options.json:
        context.say(show.as_json(lines))
        return 0
    for line in lines:
        context.say(in_words(line))
    if options.follow:
        for new in source.follow(lambda: False, services, options.grep, about):  # until Control-C
            if new is not None:
                context.say(in_words(new))
    elif not lines:
        context.note("There is no such line.")
    return 0


def in_words(line: LogLine) -> str:
    """One message: time, level if it is remarkable, service, text; a traceback below it."""
    level = f"{line.level.upper()} " if line.level in {"warning", "error"} else ""
    first, *more = line.text.split("\n")
    text = f"{show.moment_s(line.at)} {line.service or '-':9} {level}{show.clean(first)}"
    return "\n".join([text, *("    " + show.clean(other) for other in more)])


COMMAND = Command(
    "log",
    "show, search and follow the services' log",
    _run,
    (
        argument("services", nargs="*", metavar="SERVICE", help="only of these: dhcp tftp http nfs scheduler cast"),
        argument("--follow", "-f", action="store_true", help="go on with new lines until Control-C"),
        argument(
            "--lines",
            "-n",
            type=whole("number of lines", high=100_000),
            default=50,
            metavar="N",
            help="the last N lines (50)",
        ),
        argument("--grep", default="", metavar="TEXT", help="only lines that have TEXT in them, in any case"),
        argument("--host", default="", metavar="NAME", help="only lines about this PC"),
        argument("--task", type=whole("task", 1), metavar="N", help="only lines about this task"),
        JSON,
    ),
    notes=_NOTES,
)

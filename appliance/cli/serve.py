"""`diecast serve`: run services in this process until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import contextlib

from appliance.cli.command import Command, argument
from appliance.cli.context import Context
from appliance.errors import Unavailable

_NOTES = """\
Services: dhcp tftp http nfs scheduler cast. Without names all of them run in one process, which suits
a lab; an appliance runs one systemd unit for each. Outside journald the log is also kept in a file: diecast log.
"""


def _run(context: Context, options: argparse.Namespace) -> int:
    from appliance.services import runtime

    runtime.set_up_logging(context.settings.log.level)
    with _log_file(context, options.services):
        runtime.run_services(options.services, context.settings, context.store)
    return 0


def _log_file(context: Context, services: list[str]) -> contextlib.AbstractContextManager[None]:
    """Where journald does not keep the log, a file does. Without one we serve all the same."""
    from appliance.system import logs

    if context.logs_to_journal:
        return contextlib.nullcontext()
    try:
        return logs.to_file(context.settings.paths.state, services)
    except Unavailable as error:
        context.note(f"diecast: {error}")
        return contextlib.nullcontext()


COMMAND = Command(
    "serve",
    "run services until they are told to stop",
    _run,
    (argument("services", nargs="*", metavar="SERVICE", help="which ones; none named: all"),),
    notes=_NOTES,
)

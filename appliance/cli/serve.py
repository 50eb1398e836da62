"""`diecast serve`: run services in this process until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse

from appliance.cli.command import Command, argument
from appliance.cli.context import Context

_NOTES = """\
Services: dhcp tftp http nfs scheduler cast. Without names all of them run in one process, which suits
a lab; an appliance runs one systemd unit for each.
"""


def _run(context: Context, options: argparse.Namespace) -> int:
    from appliance.services import runtime

    runtime.set_up_logging(context.settings.log.level)
    runtime.run_services(options.services, context.settings, context.store)
    return 0


COMMAND = Command(
    "serve",
    "run services until they are told to stop",
    _run,
    (argument("services", nargs="*", metavar="SERVICE", help="which ones; none named: all"),),
    notes=_NOTES,
)

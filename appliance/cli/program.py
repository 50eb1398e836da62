"""The table of commands, and the reading of one command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance import __version__
from appliance.cli import (
    audit,
    backup,
    box,
    capture,
    cast,
    config,
    deploy,
    doctor,
    host,
    image,
    lease,
    log,
    notify,
    operator,
    reservation,
    room,
    serve,
    service,
    setting,
    task,
    tui,
)
from appliance.cli.command import COMMON, Command, Parser, add_parts
from appliance.cli.context import Context
from appliance.config import DEFAULT_CONFIG_PATH

# In the order of a day's work, as --help shows them.
COMMANDS: tuple[Command, ...] = (
    tui.COMMAND,
    host.COMMAND,
    room.COMMAND,
    capture.COMMAND,
    image.COMMAND,
    deploy.COMMAND,
    cast.COMMAND,
    task.COMMAND,
    lease.COMMAND,
    reservation.COMMAND,
    doctor.COMMAND,
    backup.COMMAND,
    box.COMMAND,
    service.COMMAND,
    log.COMMAND,
    setting.COMMAND,
    notify.COMMAND,
    operator.COMMAND,
    audit.COMMAND,
    serve.COMMAND,
    config.COMMAND,
)

CONFIG_VARIABLE = "DIECAST_CONFIG"
_NOTES = f"""\
The settings file is --config, else ${CONFIG_VARIABLE}, else {DEFAULT_CONFIG_PATH}.
Exit status: 0 done; 1 a task failed; 64 wrong usage; 65 damaged data; 66 not found;
69 unavailable; 73 no space; 75 busy or exists already; 78 settings; 130 cancelled.
"""


def build_parser() -> Parser:
    """The parser of the whole program."""
    parser = Parser(
        is_group=True,
        prog="diecast",
        description="Capture a prepared PC over the network and cast it onto others.",
        epilog=_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for item in COMMON:
        parser.add_argument(*item.words, **item.settings)
    parser.add_argument("--version", action="version", version=f"diecast {__version__}")
    add_parts(parser, COMMANDS)
    return parser


class Invocation:
    """One command line."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._argv = list(argv)
        self._environ = environ
        # Read before the rest, so that an error in the rest can be debugged too.
        self.debug = "--debug" in self._argv

    def run(self) -> int:
        """Parse, run, close. Returns the exit status; raises `ApplianceError`."""
        options = build_parser().parse_args(self._argv)
        named = options.config or self._environ.get(CONFIG_VARIABLE)
        context = Context(Path(named) if named else DEFAULT_CONFIG_PATH, self._environ)
        try:
            status: int = options.run(context, options)
            return status
        finally:
            context.close()

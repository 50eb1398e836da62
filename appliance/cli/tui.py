"""`diecast tui`: the operator's console."""

from __future__ import annotations

import argparse
import os
import sys

from appliance.cli.command import Command, argument
from appliance.cli.context import Context
from appliance.errors import Unavailable, UsageError

_NOTES = """\
Keys: ? shows those of a screen. Several consoles may be open at once, at the box and over SSH; each shows
what the others do. Where operators exist (diecast operator add), it asks who you are.
"""

_SWITCH_S = 0.001  # how long a key may wait for the read model's thread; Python's own 5 ms add up over a screen
# After which Esc is a key by itself (`tui.driver`): longer than a terminal takes to send the rest of a sequence.
_ESCAPE_MS = "25"


def _run(context: Context, options: argparse.Namespace) -> int:
    if not context.is_terminal or not context.can_ask:
        raise UsageError("The console needs a terminal.", hint="Log in with ssh -t, or use the other commands.")
    os.environ.setdefault("ESCDELAY", _ESCAPE_MS)  # Textual reads it when it is imported
    from appliance.store import Store
    from appliance.tui.app import ConsoleApp
    from appliance.tui.session import Session

    session = Session(context.actor, language=options.language or "", read_only=options.read_only)
    settings = context.file_settings
    # As we were started ourselves: a package's program imports nothing from its caller's folder.
    isolated = ("-I",) if sys.flags.isolated else ()
    app = ConsoleApp(
        lambda: Store.open(settings.paths.database),
        session,
        settings,
        command=(sys.executable, *isolated, "-m", "appliance", "--config", str(context.config_path)),
    )
    sys.setswitchinterval(_SWITCH_S)
    app.run()
    if app.defect is not None:
        if options.debug:
            raise app.defect
        raise Unavailable(
            f"The console ended on a defect: {type(app.defect).__name__}: {app.defect}.",
            hint="Start it again; diecast --debug tui shows where it happens.",
        )
    return app.return_code or 0


COMMAND = Command(
    "tui",
    "open the operator's console",
    _run,
    (
        argument("--read-only", action="store_true", help="show everything, change nothing"),
        argument("--language", choices=("en", "fr"), help="of the console (default: the operator's or the box's)"),
    ),
    notes=_NOTES,
)

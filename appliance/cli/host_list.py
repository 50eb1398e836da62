"""`diecast host export` and `host import`: lists of PCs as CSV, ours and FOG's."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument
from appliance.cli.context import Context
from appliance.errors import BadData, NotFound, Unavailable

if TYPE_CHECKING:
    from appliance.hosts_import import Step

_NOTES = """\
Our list has a first row of column names, any of these in any order: name, macs (several with | between
them), uuid, room, address (reserved), disk, local_boot, uefi_loader, sealed (yes or no), notes. A column
that is left out is left alone; an empty cell empties. FOG's export of hosts is understood as it is, with
column names (1.6) or without (1.5): names, MACs, description, kernel device; groups or location as room.
Rooms that are not there are made. Rows are taken one by one, each whole or not at all.
"""
_FROM_FOG = "FOG's list: names, MACs, descriptions, disks and rooms are taken; images, keys and passwords are not."


def _export(context: Context, options: argparse.Namespace) -> int:
    from appliance import hosts_csv

    hosts = context.store.hosts.list() if options.room is None else context.store.rooms.hosts(options.room)
    addresses = {item.mac: item.address for item in context.store.leases.reservations()}
    data = hosts_csv.write(hosts, addresses, excel=options.excel)
    if options.output is None:
        sys.stdout.write(data.decode())
        return 0
    try:
        options.output.write_bytes(data)
    except OSError as error:
        raise Unavailable(f"{options.output} cannot be written: {error.strerror}.") from error
    context.note(f"Wrote {show.count(len(hosts), 'PC')} to {options.output}.")
    return 0


def _import(context: Context, options: argparse.Namespace) -> int:
    from appliance import hosts_csv, hosts_import

    sheet = hosts_csv.read(_bytes_of(options.file))
    if sheet.kind is hosts_csv.Kind.FOG:
        context.note(_FROM_FOG)
    if sheet.ignored:
        context.note(f"Columns that mean nothing here: {', '.join(map(show.clean, sheet.ignored))}.")
    steps = hosts_import.plan(sheet, hosts_import.Known.of(context.store), update=options.update)
    done = []
    for step in steps:
        done.append(step if options.dry_run else hosts_import.carry_out(context.store, step))
        if not options.json:
            context.say(show.clean(f"Line {step.line}: {step.name or '-'} {done[-1].words}"))
    if not options.dry_run:
        context.record("host import", f"{options.file}: {_summary(done)}")
    if options.json:
        fields = [{"line": s.line, "host": s.name, "action": s.action, "why": s.why} for s in done]
        context.say(show.as_json(fields))
    else:
        context.say(f"{'Nothing was changed; it would be: ' if options.dry_run else ''}{_summary(done)}.")
    return BadData.exit_status if any(step.action is hosts_import.Action.REFUSE for step in done) else 0


def _summary(steps: list[Step]) -> str:
    """`3 added, 1 refused`."""
    counts = Counter(step.action for step in steps)
    return ", ".join(f"{number} {action}" for action, number in sorted(counts.items())) or "no host in the list"


def _bytes_of(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}.") from error


EXPORT = Command(
    "export",
    "write a list of the PCs as CSV",
    _export,
    (
        argument("--output", "-o", type=Path, metavar="FILE", help="into this file, not to standard output"),
        argument("--room", metavar="ROOM", help="only those that stand in a room"),
        argument("--excel", action="store_true", help="with semicolons, for a spreadsheet with a European language"),
    ),
    notes=_NOTES,
)
IMPORT = Command(
    "import",
    "add PCs from a list: ours, or FOG's export",
    _import,
    (
        argument("file", type=Path, metavar="FILE", help="a CSV file; - for standard input"),
        argument("--dry-run", action="store_true", help="only say what would be done"),
        argument("--update", action="store_true", help="also change PCs that are known"),
        JSON,
    ),
    notes=_NOTES,
)

"""`diecast box disk`: the machine's disks, and taking one of them for images."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from appliance.cli import show
from appliance.cli.command import JSON, YES, Command, argument
from appliance.cli.context import Context
from appliance.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.system.image_disk import Disk, State

_POLL_S = 0.5
_BEGUN_S = 15.0  # in which systemd has started the unit and that has said something
_NOTES = """\
The disk is formatted with XFS. Images that are there are copied and read back while services work; then these
stop for a moment, and start with the new disk. The old disk keeps its images. If this command ends, root's
unit goes on: diecast box disk list
"""


def _list(context: Context, options: argparse.Namespace) -> int:
    from appliance.system import image_disk

    paths = context.file_settings.paths
    found, state = image_disk.disks(paths.images), image_disk.state(paths.run)
    if options.json:
        context.say(show.as_json({"disks": found, "change": state}))
        return 0
    rows = [
        (
            disk.name,
            show.size(disk.size_bytes),
            disk.model or "-",
            disk.serial or disk.wwn or "-",
            disk.obstacle or "can be taken",
            ", ".join(disk.contents) or "empty",
        )
        for disk in found
    ]
    context.say(show.table(("DISK", ">SIZE", "MODEL", "SERIAL", "FOR IMAGES", "ON IT"), rows, width=context.width))
    if state is not None:
        context.say(_words(state))
    return 0


def _words(state: State) -> str:
    """How taking a disk stands, in a sentence."""
    if not state.under_way:
        return f"{state.text} {state.hint}".strip()
    done = f": {show.size(state.done_bytes)} of {show.size(state.total_bytes)}" if state.total_bytes else ""
    return f"{state.disk}: {state.stage}{done}"


def _take(context: Context, options: argparse.Namespace) -> int:
    from appliance.system import image_disk

    paths = context.file_settings.paths
    disk = image_disk.named(image_disk.disks(paths.images), options.disk)
    image_disk.refuse_while_at_work(context.store.tasks.list(active_only=True))
    if not options.yes:
        context.say(_warning(disk))
        context.confirm(f"Take {disk.name}?")
    number = image_disk.ask(paths.run, disk, erase=options.erase)
    context.record("box disk take", f"{disk.name}: {disk.identity}")
    state = _until_done(context, paths.run, number)
    if state.stage == image_disk.DONE:
        context.say(state.text)
        return 0
    raise Unavailable(state.text, hint=state.hint)


def _warning(disk: Disk) -> str:
    what = f"{disk.name} ({disk.model or 'unknown model'}, {show.size(disk.size_bytes)})"
    lost = ", ".join(disk.contents)
    return f"{what} is formatted. All that is on it is lost: {lost}." if lost else f"{what} is formatted. It is empty."


def _until_done(context: Context, run: Path, number: str) -> State:
    """Tell each step once. Raises `Unavailable` when nothing happens."""
    from appliance.system import image_disk

    begun, told = time.monotonic(), ""
    while True:
        state = image_disk.state(run)
        if state is not None and state.id == number:
            if not state.under_way:
                return state
            if state.stage != told:
                told = state.stage
                context.note(_words(state))
        elif time.monotonic() - begun > _BEGUN_S:
            raise Unavailable(
                f"{image_disk.UNIT} has not begun after {_BEGUN_S:.0f} s.", hint=f"See: journalctl -u {image_disk.UNIT}"
            )
        time.sleep(_POLL_S)


def _apply(context: Context, options: argparse.Namespace) -> int:
    from appliance.system import image_disk_apply

    paths = context.file_settings.paths
    image_disk_apply.run_unit(paths.run, paths.images, settle_only=options.settle)
    return 0


COMMAND = Command(
    "disk",
    "list the disks, and take one for images",
    parts=(
        Command("list", "list the disks, what is on them, and which can be taken for images", _list, (JSON,)),
        Command(
            "take",
            "format a disk and have images lie on it",
            _take,
            (
                argument("disk", metavar="DISK", help="its name, such as sdb, or its serial number"),
                argument("--erase", action="store_true", help="lose what is on it"),
                YES,
            ),
            notes=_NOTES,
        ),
        Command(
            "apply",
            "as root: do what was asked for; diecast-image-disk.service runs this",
            _apply,
            (argument("--settle", action="store_true", help="only start what was left stopped"),),
        ),
    ),
)

"""`diecast backup`: copies of store, settings and images elsewhere, and the way back."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from appliance.cli import show
from appliance.cli.command import JSON, YES, Argument, Command, argument, whole
from appliance.cli.context import Context
from appliance.cli.progress import Meter
from appliance.errors import BadData, ConfigError, UsageError

if TYPE_CHECKING:
    from appliance.backup.places import Place
    from appliance.backup.plan import Plan
    from appliance.backup.record import Backup
    from appliance.backup.restore import Restored
    from appliance.config import Settings

_SHOWN_PROBLEMS = 20
_UNITS = {"images": "chunks", "verify": "chunks", "prune": "chunks", "look": "versions", "store": "files"}
_NOTES = """\
A target is a folder, a mounted disk's too (/media/usb), or a folder of another host
(user@host:/folder), which ssh reaches with this user's keys and without a password.
One target is for one box. What a backup holds is as secret as the box: passwords' hashes are in it.
"""


def _plan(context: Context) -> Plan:
    """The settings of backups. A box without a store, or with one that cannot be read, has their defaults."""
    from appliance.backup import plan
    from appliance.errors import Unavailable

    try:
        if not context.file_settings.paths.database.exists():
            return plan.Plan()
        with context.open_store() as store:
            return plan.read(store)
    except (ConfigError, Unavailable):
        return plan.Plan()


def _place(context: Context, options: argparse.Namespace) -> Place:
    """The target named, else that of the settings. Raises `UsageError`."""
    from appliance.backup.places import open_place

    target = options.target or _plan(context).target
    if not target:
        raise UsageError(
            "No target for backups is set.",
            hint="Give --target, or set one: diecast backup schedule --target /media/usb",
        )
    return open_place(target)


@contextmanager
def _progress(context: Context, *, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for what is going on; each thing has its own."""
    meters: dict[str, Meter] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in meters:
            meters[what] = Meter(context, f"backup: {what}", unit=_UNITS.get(what, ""), quiet=quiet)
        meters[what].update(done, total)

    try:
        yield tell
    finally:
        for meter in meters.values():
            meter.__exit__(None, None, None)


def _run(context: Context, options: argparse.Namespace) -> int:
    from appliance.backup import plan
    from appliance.backup.run import Box, run

    wanted = plan.read(context.store)
    if options.scheduled and not plan.is_due(wanted, plan.last(context.store), datetime.now().astimezone()):
        return 0
    place = _place(context, options)
    images = wanted.images if options.images is None else options.images
    with _progress(context, quiet=options.json or options.scheduled) as progress:
        report = run(
            Box(context.store, context.file_settings, context.config_path),
            place,
            images=images,
            keep=options.keep or wanted.keep,
            now=datetime.now(UTC),
            first=options.first,
            progress=progress,
        )
    context.record("backup run", f"{report.backup.name} in {place.name}")
    if options.json:
        context.say(show.as_json(report))
    else:
        new = show.size(report.new_bytes)
        what = f"{show.count(len(report.backup.versions), 'image version')}, of which {new} were new"
        what = f"store, settings and {what}" if images else "store and settings, without images"
        context.say(f"Backup {report.backup.name} is in {place.name}: {what}.")
        if report.pruned:
            context.say(f"Removed as older ones: {', '.join(report.pruned)}.")
    if report.not_pruned:
        context.note(f"diecast: {report.not_pruned}")
    if options.verify:
        _judge(context, place, report.backup, contents=True, as_json=False)
    if report.backup.lacking:
        id, why = next(iter(report.backup.lacking.items()))
        raise BadData(
            f"The backup is made, but without {show.count(len(report.backup.lacking), 'image version')} that is damaged"
            f" in this box, {id[:12]}…: {why}",
            hint="See: diecast image verify --all",
        )
    return 0


def _list(context: Context, options: argparse.Namespace) -> int:
    from appliance.backup import pool

    place = _place(context, options)
    place.check()
    found = pool.backups(place)
    if options.json:
        context.say(show.as_json(found))
        return 0
    if not found:
        context.say(f"No backup is in {place.name}. Make one: diecast backup run")
        return 0
    rows = []
    for one in found:
        backup = one.backup
        if backup is None:
            rows.append((one.name, "-", "-", "-", "-", one.problem))
            continue
        images = show.count(len(backup.versions), "version") if backup.images else "no"
        remark = f"without {len(backup.lacking)} damaged" if backup.lacking else ""
        rows.append((one.name, show.moment(backup.at), backup.box, show.size(backup.store.bytes), images, remark))
    context.say(show.table(("BACKUP", "MADE", "BOX", ">STORE", "IMAGES", "REMARK"), rows, width=context.width))
    return 0


def _verify(context: Context, options: argparse.Namespace) -> int:
    from appliance.backup import pool

    place = _place(context, options)
    place.check()
    _judge(context, place, pool.choose(place, options.name), contents=options.chunks, as_json=options.json)
    return 0


def _judge(context: Context, place: Place, backup: Backup, *, contents: bool, as_json: bool) -> None:
    """Verify and say; raises `BadData` for a backup that is not whole."""
    from appliance.backup.verify import verify

    with _progress(context, quiet=as_json) as progress:
        verdict = verify(place, backup, contents=contents, progress=progress)
    if as_json:
        context.say(show.as_json(verdict))
    elif verdict.ok:
        chunks = show.count(verdict.chunks, "chunk")
        how = f"{chunks} read and hashed" if contents else f"{chunks} there, not read (--chunks reads them)"
        context.say(f"Backup {backup.name} is whole: store, settings, {how}.")
    else:
        context.say(f"Backup {backup.name} is DAMAGED: {show.count(len(verdict.problems), 'fault')}.")
        for problem in verdict.problems[:_SHOWN_PROBLEMS]:
            context.say(f"  {show.clean(problem)}")
    if not verdict.ok:
        raise BadData(
            f"Backup {backup.name} in {place.name} cannot be trusted.",
            hint="Delete the damaged chunk files there, then run: diecast backup run",
        )


def _restore(context: Context, options: argparse.Namespace) -> int:
    from appliance.backup import pool
    from appliance.backup.restore import refuse_while_serving, restore

    settings = _own_settings(context)
    place = _place(context, options)
    place.check()
    backup = pool.choose(place, options.name)
    if settings is not None and not options.force:
        refuse_while_serving(settings.paths.database)
    if not options.yes:
        context.confirm(
            f"Put the store of {backup.box} of {show.moment(backup.at)} in the place of this box's, "
            f"{'with' if options.images and backup.images else 'without'} images?"
        )
    with _progress(context, quiet=options.json) as progress:
        done = restore(
            place,
            backup,
            settings,
            context.config_path,
            images=options.images and backup.images,
            with_settings=options.settings,
            force=options.force,
            now=datetime.now(UTC),
            progress=progress,
        )
    after = Context(context.config_path, {})
    after.used_images = True
    try:
        after.store.audit.record(context.actor, "backup restore", f"{backup.name} from {place.name}")
    finally:
        after.close()
    if options.json:
        context.say(show.as_json(done))
    else:
        _say_restored(context, done)
    return 0


def _own_settings(context: Context) -> Settings | None:
    """The box's settings; None when it has no settings file. Raises `ConfigError` for one that is wrong."""
    return context.file_settings if context.config_path.exists() else None


def _say_restored(context: Context, done: Restored) -> None:
    context.say(
        f"Backup {done.backup.name} is restored to {done.database}; {show.count(done.chunks, 'chunk')} came back."
    )
    if done.before is not None:
        context.say(f"The store that was there is kept: {done.before}")
    if done.settings_before is not None:
        context.say(f"The settings file that was there is kept: {done.settings_before}")
    if done.lacking:
        context.say(
            f"{show.count(len(done.lacking), 'image version')} that the store names is not in this box,"
            f" {done.lacking[0][:12]}… first: they cannot be deployed."
        )
    context.say("Tasks that were running then end as failed. Start the services: diecast service start")


def _schedule(context: Context, options: argparse.Namespace) -> int:
    from appliance.backup import plan

    given = {plan.TARGET: options.target, plan.IMAGES: options.images, plan.KEEP: options.keep, plan.HOUR: options.hour}
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        if not plan.allows(name, value):
            raise UsageError(f"'{value}' is no value for {name}.", hint=f"See: diecast setting get {name}")
    context.store.settings.set_all(changes)
    for name, value in changes.items():
        context.record("setting set", f"{name} = {value}")
    now, last = plan.read(context.store), plan.last(context.store)
    if options.json:
        context.say(show.as_json({"plan": now, "last": last}))
        return 0
    went = "never" if last is None else f"{show.moment(last.at)}: {last.words}"
    pairs = (
        ("Target", now.target or "not set"),
        ("Images", "yes" if now.images else "no"),
        ("Keep", str(now.keep)),
        ("Hour", "off: only when asked" if now.hour is None else f"{now.hour}:00, local time"),
        ("Last", went),
        ("Last good", show.moment(last.good_at) if last and last.good_at else "never"),
    )
    context.say(show.facts(pairs))
    return 0


_TARGET = argument("--target", metavar="TARGET", help="folder or user@host:/folder; else the setting backup.target")
_NAME = argument("name", metavar="BACKUP", nargs="?", help="its name; none: the newest")
_IMAGES = argument("--images", action=argparse.BooleanOptionalAction, default=None, help="with the images, or without")
_RUN: tuple[Argument, ...] = (
    _TARGET,
    _IMAGES,
    argument("--keep", type=whole("number", 1, 1000), metavar="N", help="how many backups to keep"),
    argument("--first", action="store_true", help="the target is a new disk, where no backup is yet"),
    argument("--verify", action="store_true", help="read it again afterwards and hash every chunk"),
    argument("--scheduled", action="store_true", help="for a timer: only when it is due, and silently"),
    JSON,
)
_RESTORE: tuple[Argument, ...] = (
    _NAME,
    _TARGET,
    argument("--images", action=argparse.BooleanOptionalAction, default=True, help="bring back the images, or not"),
    argument("--settings", action="store_true", help="the settings file too; a box without one gets it anyway"),
    argument("--force", action="store_true", help="although services seem to run on the store"),
    YES,
    JSON,
)

COMMAND = Command(
    "backup",
    "copy store, settings and images elsewhere, and bring them back",
    parts=(
        Command("run", "make a backup now", _run, _RUN, notes=_NOTES),
        Command("list", "list the backups on the target", _list, (_TARGET, JSON)),
        Command(
            "verify",
            "check that a backup is whole",
            _verify,
            (_NAME, _TARGET, argument("--chunks", action="store_true", help="read and hash every chunk"), JSON),
        ),
        Command("restore", "bring a backup back into this box", _restore, _RESTORE, notes=_NOTES),
        Command(
            "schedule",
            "show or change when, where to and how many backups are made",
            _schedule,
            (
                argument("--target", metavar="TARGET", help="where to"),
                argument("--images", choices=("yes", "no"), help="with the images, or without"),
                argument("--keep", metavar="N", help="how many are kept"),
                argument("--hour", metavar="HOUR", help="0 to 23, local time, or off"),
                JSON,
            ),
            notes=_NOTES,
        ),
    ),
)

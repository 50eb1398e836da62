"""`diecast image`: what was captured."""

from __future__ import annotations

import argparse
from collections import Counter as Counting
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.cli import show
from appliance.cli.command import JSON, YES, Command, argument
from appliance.cli.context import Context
from appliance.cli.names import manifest_of, version_name
from appliance.cli.progress import Counter, Meter
from appliance.errors import BadData, NotFound, UsageError
from appliance.model import ImageVersion

if TYPE_CHECKING:
    from appliance.engine.manifest import Manifest

_SHOWN_PROBLEMS = 20


def _list(context: Context, options: argparse.Namespace) -> int:
    versions = context.store.images.versions(options.name)
    if options.json:
        context.say(show.as_json(versions))
        return 0
    if not versions:
        context.say("No image has been captured. Capture one: diecast capture HOST --image NAME")
        return 0
    rows = [
        (
            version_name(version),
            show.moment(version.created),
            version.master_name or "-",
            show.size(version.disk_bytes),
            show.size(version.used_bytes),
            show.size(version.stored_bytes),
            show.size(version.new_bytes),
        )
        for version in versions
    ]
    names = ("VERSION", "CAPTURED", "FROM", ">DISK", ">USED", ">STORED", ">NEW")
    context.say(show.table(names, rows, width=context.width))
    return 0


def _regions(manifest: Manifest) -> list[dict[str, Any]]:
    """The parts of the master's disk."""
    return [
        {
            "name": region.name,
            "kind": region.kind,
            "filesystem": region.filesystem.kind,
            "label": region.label or region.filesystem.label,
            "size_bytes": region.length,
            "used_bytes": region.used_bytes,
        }
        for region in manifest.regions
    ]


def _show(context: Context, options: argparse.Namespace) -> int:
    version = context.store.images.resolve(options.version)
    holders = [host.name for host in context.store.hosts.list() if host.version_id == version.id]
    manifest = manifest_of(context, version)
    regions = _regions(manifest) if manifest else []
    smallest = manifest.minimum_disk_bytes if manifest else version.disk_bytes
    systems = ", ".join(system.name for system in manifest.os) if manifest else ""
    if options.json:
        more = {"hosts": holders, "minimum_disk_bytes": smallest, "regions": regions}
        context.say(show.as_json({**show.plain(version), **more}))
        return 0
    context.say(
        show.facts(
            (
                ("Version", version_name(version)),
                ("Id", version.id),
                ("Captured", f"{show.moment(version.created)} from {version.master_name or 'an unknown PC'}"),
                ("Sealed", "yes: its master was generalised" if version.sealed else "no"),
                ("System", systems),
                ("Disk", f"{show.size(version.disk_bytes)}; a target needs {show.size(smallest)} or more"),
                ("Used", show.size(version.used_bytes)),
                ("Stored", f"{show.size(version.stored_bytes)} in {show.count(version.chunks, 'chunk')}"),
                ("New", f"{show.size(version.new_bytes)} that no other version had"),
                ("On", ", ".join(holders) or "no known PC"),
                ("Notes", version.notes),
            )
        )
    )
    if regions:
        rows = [
            (r["name"], r["kind"], r["filesystem"], r["label"], show.size(r["size_bytes"]), show.size(r["used_bytes"]))
            for r in regions
        ]
        names = ("PART", "KIND", "CONTENT", "LABEL", ">SIZE", ">USED")
        context.say("\n" + show.table(names, rows, width=context.width))
    return 0


def _chosen(context: Context, options: argparse.Namespace) -> list[ImageVersion]:
    """The versions that were named; every version of an image named without one when `all` was asked for."""
    if options.all:
        if options.versions:
            raise UsageError("Name versions or give --all, not both.")
        return context.store.images.versions()
    if not options.versions:
        raise UsageError("Nothing is named to verify.", hint="Name images or versions, or give --all.")
    chosen = [version for text in options.versions for version in _named(context, text)]
    return list(dict.fromkeys(chosen))


def _named(context: Context, text: str) -> list[ImageVersion]:
    """`NAME@NUMBER` is one version, `NAME` all of an image."""
    return [context.store.images.resolve(text)] if "@" in text else context.store.images.versions(text)


@dataclass(frozen=True, slots=True)
class Verified:
    """What re-reading one version found."""

    version: str
    id: str
    ok: bool
    chunks: int = 0
    plain_bytes: int = 0
    bad: tuple[str, ...] = ()  # ids of chunks
    problems: tuple[str, ...] = ()


def _verify_one(context: Context, version: ImageVersion, *, quiet: bool, count: bool = False) -> Verified:
    """A version that cannot even be opened is a result like another: the next one is still looked at."""
    name = version_name(version)
    try:
        with Meter(context, f"verify {name}", unit="chunks", quiet=quiet) as meter:
            report = context.chunk_store().verify(version.id, Counter() if count else meter.update)
    except (BadData, NotFound) as error:
        return Verified(name, version.id, ok=False, problems=(error.message,))
    bad = tuple(id.hex() for id in report.bad)
    return Verified(name, version.id, report.ok, report.chunks, report.plain_bytes, bad, report.problems)


def _say_verified(context: Context, found: Verified) -> None:
    if found.ok:
        good = f"{show.count(found.chunks, 'chunk')}, {show.size(found.plain_bytes)}"
        context.say(f"{found.version}: every chunk is as it was captured ({good}).")
        return
    context.say(f"{found.version} is DAMAGED: {show.count(len(found.problems), 'fault')}.")
    for problem in found.problems[:_SHOWN_PROBLEMS]:
        context.say(f"  {show.clean(problem)}")
    if len(found.problems) > _SHOWN_PROBLEMS:
        context.say(f"  ... and {len(found.problems) - _SHOWN_PROBLEMS} more")


def _verify(context: Context, options: argparse.Namespace) -> int:
    results = []
    for version in _chosen(context, options):
        found = _verify_one(context, version, quiet=options.json or options.progress, count=options.progress)
        results.append(found)
        if not options.json:
            _say_verified(context, found)
    damaged = [found.version for found in results if not found.ok]
    if options.json:
        context.say(show.as_json(results))
    if not damaged:
        return 0
    raise BadData(
        f"{', '.join(damaged)} cannot be trusted.",
        hint="Delete the chunk files named above and capture again from a PC that holds it, or remove the version.",
    )


def _usage(context: Context, options: argparse.Namespace) -> int:
    versions = context.store.images.versions()
    groups: dict[str, set[str]] = {}
    for version in versions:
        groups.setdefault(version.image_name, set()).add(version.id)
    found = context.chunk_store().usage(groups)
    held = Counting(version.id for version in versions)  # two images may hold the same content
    rows: list[dict[str, Any]] = [
        {
            "version": version_name(version),
            "id": version.id,
            "stored_bytes": found.versions[version.id].stored_bytes,
            "own_bytes": found.versions[version.id].own_bytes if held[version.id] == 1 else 0,
        }
        for version in versions
    ]
    images = [{"image": name, **show.plain(share)} for name, share in found.groups.items()]
    if options.json:
        whole = {"chunks": found.chunks, "stored_bytes": found.stored_bytes}
        context.say(show.as_json({**whole, "images": images, "versions": rows}))
        return 0
    cells = [
        (str(row.get("version") or row["image"]), show.size(row["stored_bytes"]), show.size(row["own_bytes"]))
        for row in (*rows, *images)
    ]
    context.say(show.table(("WHAT", ">STORED", ">ITS OWN"), cells, width=context.width))
    alone = show.size(sum(version.stored_bytes for version in versions))
    context.say(f"Together {show.size(found.stored_bytes)}; without sharing it would be {alone}.")
    return 0


def _dry_run(context: Context, options: argparse.Namespace) -> int:
    """What removing would free, and whether something needs it."""
    doomed = list(dict.fromkeys(version for text in options.versions for version in _named(context, text)))
    versions = context.store.images.versions()
    left = {version.id for version in versions if version not in doomed}
    gone = {version.id for version in doomed} - left
    chunks, size = context.chunk_store().frees(gone, left | gone, _open_tasks(context))
    names = [version_name(version) for version in doomed]
    if options.json:
        context.say(show.as_json({"versions": names, "chunks": chunks, "bytes": size}))
    else:
        freed = f"{show.count(chunks, 'chunk')}, {show.size(size)}"
        context.say(f"Removing {', '.join(names) or 'that'} would free {freed}. Nothing was done.")
    return 0


def _edit(context: Context, options: argparse.Namespace) -> int:
    images = context.store.images
    if "@" in options.version:
        name = version_name(images.set_version_notes(options.version, options.notes))
    else:
        name = images.set_notes(options.version, options.notes).name
    context.record("image edit", f"{name}: notes")
    context.say(f"Kept the notes on {name}.")
    return 0


def _open_tasks(context: Context) -> set[int]:
    return {task.id for task in context.store.tasks.list(active_only=True, limit=1_000_000)}


def _remove(context: Context, options: argparse.Namespace) -> int:
    if options.dry_run:
        return _dry_run(context, options)
    if options.json:
        raise UsageError("--json goes with --dry-run.")
    for text in options.versions:
        doomed = _named(context, text)
        names = ", ".join(map(version_name, doomed)) or text
        if not options.yes and context.can_ask:
            context.confirm(f"Remove {names} for good?")
        if "@" in text:
            context.store.images.remove_version(doomed[0].id, image_name=doomed[0].image_name)
        else:
            context.store.images.remove(text)
        context.record("image remove", names)
        context.say(f"Removed {names}.")
    report = context.chunk_store().collect(context.store.images.live_version_ids(), _open_tasks(context))
    freed = f"{show.count(report.removed_chunks, 'chunk')} freed, {show.size(report.removed_bytes)}"
    context.say(f"{freed}. Chunks of the last hour are freed by the next collection.")
    return 0


_VERSION_HELP = "IMAGE (its newest version) or IMAGE@NUMBER"
_SEVERAL_HELP = "IMAGE (all its versions) or IMAGE@NUMBER"

COMMAND = Command(
    "image",
    "list, show, verify and remove images",
    parts=(
        Command(
            "list",
            "list versions, newest first",
            _list,
            (argument("name", nargs="?", metavar="IMAGE", help="only this image's"), JSON),
        ),
        Command(
            "show", "show one version", _show, (argument("version", metavar="IMAGE[@N]", help=_VERSION_HELP), JSON)
        ),
        Command(
            "verify",
            "read every chunk again and compare its hash",
            _verify,
            (
                argument("versions", nargs="*", metavar="IMAGE[@N]", help=_SEVERAL_HELP),
                argument("--all", action="store_true", help="every version there is"),
                argument(
                    "--progress", action="store_true", help="count on standard error, a line a percent, for programs"
                ),
                JSON,
            ),
        ),
        Command(
            "remove",
            "remove images or versions for good; asks first at a terminal",
            _remove,
            (
                argument("versions", nargs="+", metavar="IMAGE[@N]", help=_SEVERAL_HELP),
                argument("--dry-run", action="store_true", help="say what it would free, and remove nothing"),
                YES,
                JSON,
            ),
        ),
        Command(
            "edit",
            "change the notes on an image or a version",
            _edit,
            (
                argument("version", metavar="IMAGE[@N]", help="an image, or one of its versions"),
                argument("--notes", required=True, metavar="TEXT", help="'' for none"),
            ),
        ),
        Command("usage", "show what images take together, and what each version alone needs", _usage, (JSON,)),
    ),
)

"""`diecast image`: what was captured."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from appliance.cli import show
from appliance.cli.command import JSON, YES, Command, argument
from appliance.cli.context import Context
from appliance.cli.names import version_name
from appliance.cli.progress import Meter
from appliance.errors import ApplianceError, UsageError
from appliance.model import ImageVersion

if TYPE_CHECKING:
    from appliance.engine.chunkstore import VerifyReport

DAMAGED = 65  # EX_DATAERR, as errors.BadData


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


def _regions(context: Context, version: ImageVersion) -> list[dict[str, Any]]:
    """The parts of the master's disk as the manifest tells them."""
    from appliance.engine.manifest import Manifest

    manifest = Manifest.parse(context.chunk_store().read_manifest(version.id))
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
    try:
        regions = _regions(context, version)
    except ApplianceError as error:
        context.note(f"diecast: {error}")
        regions = []
    if options.json:
        context.say(show.as_json({**show.plain(version), "hosts": holders, "regions": regions}))
        return 0
    context.say(
        show.facts(
            (
                ("Version", version_name(version)),
                ("Id", version.id),
                ("Captured", f"{show.moment(version.created)} from {version.master_name or 'an unknown PC'}"),
                ("Sealed", "yes: its master was generalised" if version.sealed else "no"),
                ("Disk", f"{show.size(version.disk_bytes)}; a target needs at least as much"),
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


def _verify(context: Context, options: argparse.Namespace) -> int:
    chunk_store = context.chunk_store()
    reports: list[tuple[ImageVersion, VerifyReport]] = []
    for version in _chosen(context, options):
        with Meter(context, f"verify {version_name(version)}", unit="chunks", quiet=options.json) as meter:
            report = chunk_store.verify(version.id, meter.update)
        reports.append((version, report))
        if options.json:
            continue
        if report.ok:
            good = f"{show.count(report.chunks, 'chunk')}, {show.size(report.plain_bytes)}"
            context.say(f"{version_name(version)}: every chunk is as it was captured ({good}).")
            continue
        bad = show.count(len(report.bad), "chunk")
        context.say(f"{version_name(version)}: {bad} of {report.chunks} missing or damaged:")
        for problem in report.problems[:20]:
            context.say(f"  {show.clean(problem)}")
        if len(report.problems) > 20:
            context.say(f"  ... and {len(report.problems) - 20} more")
        context.say("Capture it again from a PC that holds it: what is whole is not sent twice.")
    if options.json:
        fields = ("chunks", "plain_bytes", "problems", "ok")
        context.say(
            show.as_json(
                [
                    {"version": version_name(version), "id": version.id, "bad": [id.hex() for id in report.bad]}
                    | {name: getattr(report, name) for name in fields}
                    for version, report in reports
                ]
            )
        )
    return 0 if all(report.ok for _, report in reports) else DAMAGED


def _remove(context: Context, options: argparse.Namespace) -> int:
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
    open_tasks = {task.id for task in context.store.tasks.list(active_only=True, limit=1_000_000)}
    report = context.chunk_store().collect(context.store.images.live_version_ids(), open_tasks)
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
                JSON,
            ),
        ),
        Command(
            "remove",
            "remove images or versions for good; asks first at a terminal",
            _remove,
            (argument("versions", nargs="+", metavar="IMAGE[@N]", help=_SEVERAL_HELP), YES),
        ),
    ),
)

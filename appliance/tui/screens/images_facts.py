"""What is told of images and versions: rows of the lists, sentences below them, and how versions share chunks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.events import TaskKind
from appliance.model import Host, Image, ImageVersion
from appliance.tui import sentences, words
from appliance.tui.i18n import _, ngettext
from appliance.tui.screens.images_verify import ROLES, Check
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import Line, wrap

_NAME = 14
_SHOWN_HOSTS = 12


@dataclass(frozen=True, slots=True)
class Usage:
    """How versions share chunks, as `diecast image usage` tells it."""

    stored_bytes: int = 0  # of all versions together
    own: Mapping[str, int] | None = None  # by version id: what only it needs; None: not known (yet)
    images: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # by name: stored, and what only it needs
    why: str = ""  # it is not known

    @classmethod
    def of(cls, told: Any) -> Usage:
        """From the command's JSON."""
        return cls(
            int(told["stored_bytes"]),
            {str(row["id"]): int(row["own_bytes"]) for row in told["versions"]},
            {str(row["image"]): (int(row["stored_bytes"]), int(row["own_bytes"])) for row in told["images"]},
        )


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image in the list. `version` is its newest one: what a guided job takes from here."""

    image: Image
    version: ImageVersion | None
    versions: tuple[ImageVersion, ...]  # newest first
    hosts: tuple[Host, ...]  # whose disks hold a version of it

    @property
    def name(self) -> str:
        """The image's name."""
        return self.image.name


def image_rows(snapshot: Snapshot) -> list[ImageRow]:
    """All images by name."""
    versions: dict[str, list[ImageVersion]] = {}
    for version in snapshot.versions:
        versions.setdefault(version.image_name, []).append(version)
    hosts: dict[str, list[Host]] = {}
    for host in snapshot.hosts:
        found = snapshot.version_by_id.get(host.version_id)
        if found is not None:
            hosts.setdefault(found.image_name, []).append(host)
    rows = []
    for image in snapshot.images:
        mine = sorted(versions.get(image.name, ()), key=lambda version: -version.number)
        newest = mine[0] if mine else None
        rows.append(ImageRow(image, newest, tuple(mine), tuple(hosts.get(image.name, ()))))
    return rows


def name_of(version: ImageVersion) -> str:
    """`win11@3`."""
    return f"{version.image_name}@{version.number}"


def holders(snapshot: Snapshot, version: ImageVersion) -> list[Host]:
    """The hosts whose disks hold a version."""
    return [host for host in snapshot.hosts if host.version_id == version.id]


def in_use(snapshot: Snapshot, versions: tuple[ImageVersion, ...], image: str = "") -> str:
    """Why versions (and an image as a whole) cannot be removed now, in words; empty when they can."""
    kept = {v.id for v in snapshot.versions} - {v.id for v in versions}
    ids = {
        version.id
        for version in versions
        if version.id not in kept and all(v in versions for v in snapshot.versions if v.id == version.id)
    }
    for task in snapshot.open_tasks:
        if task.kind is TaskKind.DEPLOY and task.version_id in ids:
            text = _("Task {number} deploys it to {host}: wait for it, or cancel it first.")
            return text.format(number=task.id, host=words.subject(task))
        if image and task.kind is TaskKind.CAPTURE and task.image_name == image:
            text = _("Task {number} captures into {image}: wait for it, or cancel it first.")
            return text.format(number=task.id, image=image)
    for order in snapshot.orders:
        if order.closed is None and order.taken < order.wanted and order.version_id in ids:
            text = _("Order {number} still deploys it to new PCs: end it first.")
            return text.format(number=order.id)
    return ""


# -- below the list ---------------------------------------------------------------------------------------------------


def fact(name: str, value: str, role: str = "") -> Line:
    """`Name          value`."""
    return ((f" {fit(name, _NAME)} ", "dim"), (clean(value), role))


def facts(pairs: list[tuple[str, str, str]], width: int) -> list[Line]:
    """Names and values below one another; long values go on below; those without a value are left out."""
    lines: list[Line] = []
    for name, value, role in pairs:
        if not value:
            continue
        first, *rest = wrap(clean(value), max(20, width - _NAME - 3))
        lines.append(fact(name, first, role))
        lines += [((" " * (_NAME + 2) + part, role),) for part in rest]
    return lines


def image_lines(row: ImageRow, usage: Usage, width: int) -> list[Line]:
    """An image: notes, and what its versions share."""
    pairs = [
        (_("Notes"), row.image.notes or _("none; e writes some"), "" if row.image.notes else "dim"),
        (_("Sharing"), sharing(row, usage), ""),
        (_("On"), hosts_in_words(list(row.hosts)), ""),
    ]
    return facts(pairs, width)


def sharing(row: ImageRow, usage: Usage) -> str:
    """Stored against summed, in words."""
    if not row.versions:
        return _("It has no version yet.")
    summed = words.size(sum(version.stored_bytes for version in row.versions))
    count = ngettext("{n} version", "{n} versions", len(row.versions)).format(n=len(row.versions))
    if usage.own is None or row.name not in usage.images:
        return f"{count}, {summed}. {_told(usage)}"
    stored, own = usage.images[row.name]
    text = _("{versions} in {stored}, {summed} without sharing; {own} are needed by no other image.")
    return text.format(versions=count, stored=words.size(stored), summed=summed, own=words.size(own))


def _told(usage: Usage) -> str:
    if usage.why:
        return _("What they share is not known: {why}").format(why=sentences.translate(usage.why))
    return _("What they share is being counted ...")


def own_of(version: ImageVersion, usage: Usage) -> str:
    """What only this version needs, for a column."""
    return "-" if usage.own is None else words.size(usage.own.get(version.id, 0))


def hosts_in_words(hosts: list[Host]) -> str:
    """The first names, and how many more."""
    if not hosts:
        return _("no PC that we know of")
    names = ", ".join(host.name for host in hosts[:_SHOWN_HOSTS])
    if len(hosts) > _SHOWN_HOSTS:
        names += ", " + _("and {n} more").format(n=words.number(len(hosts) - _SHOWN_HOSTS))
    return _("{pcs}: {names}").format(pcs=words.pcs(len(hosts)), names=names)


def version_lines(
    snapshot: Snapshot, version: ImageVersion, usage: Usage, check: Check | None, width: int
) -> list[Line]:
    """A version: where from, sizes, what it added, notes, whether it is sound."""
    captured = _("{time} from {master}").format(
        time=words.moment(version.created), master=version.master_name or _("an unknown PC")
    )
    if version.sealed:
        captured += ", " + _("sealed (generalised)")
    sizes = _("{used} on a disk of {disk}, {stored} compressed").format(
        used=words.size(version.used_bytes),
        disk=words.size(version.disk_bytes),
        stored=words.size(version.stored_bytes),
    )
    added = _("{new} when it was captured; {own} are needed by no other version today").format(
        new=words.size(version.new_bytes), own=own_of(version, usage)
    )
    pairs = [
        (_("Captured"), captured, ""),
        (_("Notes"), version.notes or _("none; e writes some"), "" if version.notes else "dim"),
        (_("Verified"), check.long() if check else _("not in this session; v does it"), _role(check)),
        (_("Sizes"), sizes, ""),
        (_("Added"), added if usage.own is not None else _told(usage), ""),
        (_("On"), hosts_in_words(holders(snapshot, version)), ""),
    ]
    return facts(pairs, width)


def _role(check: Check | None) -> str:
    return ROLES[check.found] if check else "dim"


def problem_lines(check: Check | None, width: int) -> list[Line]:
    """What a verification found wrong."""
    if check is None or not check.problems:
        return []
    lines: list[Line] = []
    for problem in check.problems[:100]:
        lines += [((f"   {part}", "bad"),) for part in wrap(clean(sentences.translate(problem)), width - 4)]
    return lines

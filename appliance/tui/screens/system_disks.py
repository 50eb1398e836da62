"""Disks: the image disk and the state disk, and what images take of them."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from appliance.errors import ApplianceError
from appliance.tui import box_disk, child, keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.images_facts import Usage
from appliance.tui.screens.system_part import SystemPart, told
from appliance.tui.screens.table import IMAGE
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.bar import bar
from appliance.tui.widgets.lines import Line
from appliance.tui.widgets.rowlist import Column

_EVERY_S = 10.0
_FULL, _NEARLY = 0.95, 0.85


@dataclass(frozen=True, slots=True)
class DiskRow:
    """A folder's file system, or (without a path) an image on the image disk."""

    title: str  # message id, or the image's name
    used_bytes: int
    total_bytes: int
    free_bytes: int = 0
    path: str = ""
    own_bytes: int | None = None  # of an image: what no other needs; None: not known

    @property
    def share(self) -> float:
        """Used, 0 to 1."""
        return self.used_bytes / self.total_bytes if self.total_bytes else 0.0

    @property
    def name(self) -> str:
        """As it is shown."""
        return _(self.title) if self.path else self.title


def measured(title: str, folder: Path) -> DiskRow:
    """The file system that `folder` lies on, or will lie on. Raises `OSError`."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    found = os.statvfs(folder)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return DiskRow(title, total - free, total, free, str(folder))


class DisksPart(SystemPart):
    """See the module."""

    NAME = "disks"
    TITLE = N_("Disks")
    EMPTY = N_("Being measured ...")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Open"), N_("To the image")),
        keys.named("edit", N_("Another disk"), N_("Take another disk for images"), need=keys.ADMIN),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self._disks: tuple[DiskRow, ...] = ()
        self._usage = Usage()
        self._measured_at = float("-inf")
        self._asked_for: object = None
        self._made_of: tuple[Any, ...] = ()
        self._rows: list[DiskRow] = []

    def columns(self) -> list[Column[Any]]:
        def draw(row: DiskRow, width: int) -> Line:
            return (*bar(row.share, width - 6), (f" {words.percent(row.share)}", ""))

        def free(row: DiskRow) -> str:
            return words.size(row.free_bytes) if row.path else ""

        def own(row: DiskRow) -> str:
            return words.size(row.own_bytes) if row.own_bytes is not None else ""

        return [
            Column[DiskRow](N_("What"), lambda row: row.name, 20, rank=0, most=40),
            Column[DiskRow](
                N_("Share"),
                lambda row: words.percent(row.share),
                16,
                rank=1,
                most=40,
                draw=draw,
                sort=lambda row: row.share,
            ),
            Column[DiskRow](
                N_("Used"),
                lambda row: words.size(row.used_bytes),
                9,
                rank=0,
                right=True,
                sort=lambda row: row.used_bytes,
            ),
            Column[DiskRow](N_("Free"), free, 9, rank=0, right=True, role=_free_role),
            Column[DiskRow](N_("Its own"), own, 9, rank=2, right=True),
            Column[DiskRow](N_("Folder"), lambda row: row.path, 20, rank=3, most=60),
        ]

    def key(self, row: Any) -> Hashable:
        return (bool(row.path), row.title)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        if self.screen.is_current and self.screen.part is self:
            if time.monotonic() - self._measured_at > _EVERY_S:
                self._measure()
            if snapshot.loaded and self._asked_for is not snapshot.versions:
                self._asked_for = snapshot.versions
                self._ask()
        made_of = (self._disks, self._usage, snapshot.images, snapshot.versions)
        if not self._made_of or not all(a is b for a, b in zip(made_of, self._made_of, strict=True)):
            self._made_of = made_of
            self._rows = [*self._disks, *self._images(snapshot)] if self._disks else []  # the cursor begins on top
        return self._rows

    def _images(self, snapshot: Snapshot) -> list[DiskRow]:
        total = self._disks[0].total_bytes
        rows = []
        for image in snapshot.images:
            summed = sum(version.stored_bytes for version in snapshot.versions if version.image_name == image.name)
            stored, own = self._usage.images.get(image.name, (summed, None))
            rows.append(DiskRow(image.name, stored, total, own_bytes=own))
        return sorted(rows, key=lambda row: -row.used_bytes)

    def _measure(self) -> None:
        self._measured_at = time.monotonic()
        paths = self.console.settings.paths

        def work() -> tuple[DiskRow, ...]:
            rows = []
            for title, folder in ((N_("Image disk"), paths.images), (N_("State disk"), paths.state)):
                try:
                    rows.append(measured(title, folder))
                except OSError:  # a network file system that is gone
                    rows.append(DiskRow(title, 0, 0, 0, str(folder)))
            return tuple(rows)

        def then(found: tuple[DiskRow, ...]) -> None:
            if found != self._disks:
                self._disks = found
                self.renew()

        self.session.fetch(lambda store: work(), then, group="disks")

    def _ask(self) -> None:
        def then(found: Any) -> None:
            self._usage = Usage.of(found)
            self.renew()

        def failed(error: ApplianceError) -> None:
            self._usage = Usage(why=sentences.explain(error))
            self.renew()

        child.start(self.console, "image", "usage", "--json", then=then, failed=failed, group="disk-usage")

    def entered(self) -> None:
        self._measured_at = float("-inf")
        self.renew()

    def note(self) -> str:
        if self._usage.own is None:
            return ""
        return _("images together {size}").format(size=words.size(self._usage.stored_bytes))

    def detail(self, row: Any, width: int) -> list[Line]:
        if not row.path:
            lines = told(_("Stored"), words.size(row.used_bytes), width)
            if row.own_bytes is not None:
                text = _("{size} are needed by no other image: removing it frees so much.")
                lines += told(_("Its own"), text.format(size=words.size(row.own_bytes)), width)
            elif self._usage.why:
                lines += told(_("Its own"), _("not known: {why}").format(why=self._usage.why), width)
            return lines
        text = _("{used} of {total}, {free} free").format(
            used=words.size(row.used_bytes), total=words.size(row.total_bytes), free=words.size(row.free_bytes)
        )
        lines = told(_("Folder"), row.path, width) + told(_("Used"), text, width)
        if row.total_bytes and row.share >= _NEARLY:
            text = _("Remove versions that nobody needs (screen Images): each says first what that frees.")
            lines += told(_("Remedy"), text, width, "warn")
        return lines

    def do_edit(self) -> None:
        box_disk.choose(self.console, self.entered)

    def opened(self, row: Any) -> None:
        if not row.path:
            self.console.show_thing(IMAGE, row.title)


def _free_role(row: DiskRow) -> str:
    if not row.path or not row.total_bytes:
        return ""
    return "bad" if row.share >= _FULL else "warn" if row.share >= _NEARLY else "ok"

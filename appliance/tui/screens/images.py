"""Images: the images above, the versions of the one at the cursor below, and what is known of it underneath.

Tab goes from one list to the other; keys do what they say to the image or to the version at the cursor. How versions
share chunks, what a removal frees and whether a version is sound is asked of our own command line (`child`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult

from appliance.errors import ApplianceError
from appliance.model import ImageVersion
from appliance.store import Store
from appliance.tui import child, keys, sentences, words
from appliance.tui.i18n import N_, _, ngettext
from appliance.tui.keys import Key
from appliance.tui.screens.base import NumberedScreen
from appliance.tui.screens.images_facts import (
    ImageRow,
    Usage,
    holders,
    image_lines,
    image_rows,
    in_use,
    name_of,
    own_of,
    version_lines,
)
from appliance.tui.screens.images_page import VersionPage, edit_notes, edit_version_notes, stop_verifying
from appliance.tui.screens.images_verify import ROLES, Verifier
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm
from appliance.tui.widgets.glyphs import fit
from appliance.tui.widgets.lines import Line, Text
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine, rule

_DETAIL = 6  # lines below the lists


class ImagesScreen(NumberedScreen):
    """See the module."""

    NAME = "images"
    ABOUT = N_(
        "Images on top, below them the versions of the one at the cursor; Tab goes from one list to the other, and keys"
        " act on the image or the version at the cursor. Every capture adds a version; versions share what is equal."
        " Enter shows everything about a version."
    )
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Open"), N_("To the image's versions; everything about a version")),
        keys.named("edit", N_("Notes"), N_("Write notes on the image or the version")),
        keys.named("verify", N_("Verify"), N_("Read the versions again and check every chunk")),
        keys.named("stop", N_("Stop"), N_("Stop verifying")),
        keys.named("remove", N_("Remove"), N_("Remove the image or the version; it says first what that frees")),
        *keys.take("pane"),
    )
    DEFAULT_CSS = f"ImagesScreen > #images {{ height: 1fr; }} ImagesScreen > #detail {{ height: {_DETAIL}; }}"

    def __init__(self) -> None:
        super().__init__()
        self._made_of: tuple[Any, ...] = ()
        self._rows: list[ImageRow] = []
        self._asked_for: object = None
        self.usage = Usage()
        self._verifier: Verifier | None = None
        self._last: RowList[Any] | None = None  # the list that had the keys last

    @property
    def verifier(self) -> Verifier:
        """What verifies versions; it goes on while other screens are shown."""
        if self._verifier is None:
            self._verifier = Verifier(self.console, self._told)
        return self._verifier

    def body(self) -> ComposeResult:
        yield RowList[ImageRow](
            self._image_columns(),
            lambda row: row.image.id,
            empty=N_("There is no image yet: capture a master first, with c."),
            id="images",
        )
        yield OneLine(self._versions_title, id="versions-title")
        yield RowList[ImageVersion](
            self._version_columns(),
            lambda version: (version.image_name, version.number),
            empty=N_("It has no version."),
            marks=True,
            id="versions",
        )
        yield OneLine(lambda width: rule(width), id="detail-rule")
        detail = Text(id="detail")
        detail.can_focus = False
        yield detail

    def _image_columns(self) -> list[Column[ImageRow]]:
        def newest(row: ImageRow) -> str:
            return f"@{row.version.number}" if row.version else "-"

        def captured(row: ImageRow) -> str:
            return words.moment(row.version.created, self.snapshot.at) if row.version else "-"

        def master(row: ImageRow) -> str:
            return row.version.master_name if row.version else ""

        def size_of(row: ImageRow, name: str) -> int:
            return int(getattr(row.version, name)) if row.version else 0

        def stored(row: ImageRow) -> int:
            known = self.usage.images.get(row.name)
            return known[0] if known else sum(version.stored_bytes for version in row.versions)

        return [
            Column(N_("Image"), lambda row: row.name, 14, rank=0, most=32),
            Column(N_("Newest"), newest, 7, rank=0, sort=lambda row: row.version.number if row.version else 0),
            Column(N_("Versions"), lambda row: str(len(row.versions)), 8, rank=3, right=True),
            Column(
                N_("Used"),
                lambda row: words.size(size_of(row, "used_bytes")),
                8,
                right=True,
                sort=lambda row: size_of(row, "used_bytes"),
            ),
            Column(N_("Stored"), lambda row: words.size(stored(row)), 8, rank=2, right=True, sort=stored),
            Column(N_("Captured"), captured, 16, rank=1, sort=lambda row: str(row.version and row.version.created)),
            Column(N_("From"), master, 10, rank=4, most=24),
            Column(N_("On PCs"), lambda row: str(len(row.hosts)), 6, right=True, sort=lambda row: len(row.hosts)),
            Column(N_("Notes"), lambda row: row.image.notes, 16, rank=5, most=60),
        ]

    def _version_columns(self) -> list[Column[ImageVersion]]:
        def check_role(version: ImageVersion) -> str:
            check = self.verifier.check(version.id)
            return ROLES[check.found] if check else "dim"

        def checked(version: ImageVersion) -> str:
            check = self.verifier.check(version.id)
            return check.short() if check else "-"

        def on_pcs(version: ImageVersion) -> str:
            return str(len(holders(self.snapshot, version)))

        return [
            Column(N_("Version"), lambda version: f"@{version.number}", 7, rank=0, sort=lambda version: version.number),
            Column(
                N_("Captured"),
                lambda version: words.moment(version.created, self.snapshot.at),
                16,
                rank=0,
                sort=lambda version: version.created,
            ),
            Column(N_("Used"), lambda v: words.size(v.used_bytes), 8, rank=2, right=True, sort=lambda v: v.used_bytes),
            Column(N_("Added"), lambda v: words.size(v.new_bytes), 8, rank=1, right=True, sort=lambda v: v.new_bytes),
            Column(N_("Its own"), lambda v: own_of(v, self.usage), 8, rank=3, right=True),
            Column(N_("From"), lambda version: version.master_name or "-", 10, rank=4, most=24),
            Column(N_("On PCs"), on_pcs, 6, rank=3, right=True),
            Column(N_("Verified"), checked, 13, rank=0, most=18, role=check_role),
            Column(N_("Sealed"), lambda version: _("yes") if version.sealed else "", 6, rank=5),
            Column(N_("Notes"), lambda version: version.notes, 12, rank=2, most=60),
        ]

    # -- drawing

    @property
    def images(self) -> RowList[ImageRow]:
        """The upper list."""
        return self.query_one("#images", RowList)

    @property
    def versions(self) -> RowList[ImageVersion]:
        """The lower list."""
        return self.query_one("#versions", RowList)

    @property
    def on_versions(self) -> bool:
        """Whether keys act on versions."""
        return self._last is self.versions and self.versions.row is not None

    def first_focus(self) -> str:
        return "#images"

    def main_list(self) -> RowList[Any]:
        return self.versions if self.on_versions else self.images

    def go_to(self, kind: str, key: Any) -> None:
        row = next((row for row in self._rows if row.name == key), None)
        if row is not None:
            self.images.focus()
            self.images.go_to(row.image.id)

    def retranslated(self) -> None:
        self._made_of = ()

    def show(self, snapshot: Snapshot) -> None:
        made_of = (snapshot.images, snapshot.versions, snapshot.hosts)
        if not self._made_of or not all(a is b for a, b in zip(made_of, self._made_of, strict=True)):
            self._made_of = made_of
            self._rows = image_rows(snapshot)
        if snapshot.loaded and self._asked_for is not snapshot.versions:
            self._asked_for = snapshot.versions
            self._ask_usage()
        self.images.put(self._rows)
        self._show_versions()

    def _show_versions(self) -> None:
        row = self.images.row
        self.versions.put(row.versions if row else ())
        self.query_one("#versions-title", OneLine).renew()
        self._show_detail()

    def _show_detail(self) -> None:
        detail = self.query_one("#detail", Text)
        detail.put(self._detail_lines(max(40, detail.size.width))[:_DETAIL])

    def _detail_lines(self, width: int) -> list[Line]:
        row, version = self.images.row, self.versions.row
        if row is None:
            return []
        if self.on_versions and version is not None:
            check = self.verifier.check(version.id)
            return version_lines(self.snapshot, version, self.usage, check, width)
        return image_lines(row, self.usage, width)

    def _versions_title(self, width: int) -> Line:
        row = self.images.row
        return rule(width, _("Versions of {image}").format(image=row.name) if row else "", "head")

    def own_keys(self) -> list[Key]:
        return [key for key in super().own_keys() if key.name != "stop" or self.verifier.is_busy]

    def _told(self) -> None:
        """A verification has come further."""
        if self.is_there and self.is_current:
            self.versions.renew()
            self._show_detail()
            self.renew_frame()
        for screen in self.app.screen_stack:
            if isinstance(screen, VersionPage):
                screen.renew()

    def _ask_usage(self) -> None:
        def failed(error: ApplianceError) -> None:
            self.usage = Usage(why=sentences.explain(error))
            self._usage_known()

        def then(told: Any) -> None:
            self.usage = Usage.of(told)
            self._usage_known()

        child.start(self.console, "image", "usage", "--json", then=then, failed=failed, group="image-usage")

    def _usage_known(self) -> None:
        if self.is_there:
            self.show(self.snapshot)
            self.images.renew()
            self.versions.renew()

    def on_row_list_moved(self, event: RowList.Moved) -> None:
        if event.rows is self.images:
            self._show_versions()
        else:
            self._show_detail()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget in (self.images, self.versions):
            self._last = event.widget if isinstance(event.widget, RowList) else None
            self._show_detail()

    # -- actions

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        if event.rows is self.images:
            self.versions.focus()
        else:
            self.console.push_screen(VersionPage(event.row, self.verifier, lambda: self.usage))

    def _chosen_versions(self) -> list[ImageVersion]:
        """The versions chosen; on the list of images all of the one at the cursor."""
        if self.on_versions:
            return self.versions.chosen
        row = self.images.row
        return list(row.versions) if row else []

    def do_verify(self) -> None:
        versions = self._chosen_versions()
        if not versions:
            self.console.say(_("There is no version to verify."))
            return
        count = self.verifier.add(versions)
        self.versions.unmark()
        text = ngettext("{n} version is being verified.", "{n} versions are being verified.", count)
        self.console.say(text.format(n=count) if count else _("It is being verified already."))

    def do_stop(self) -> None:
        stop_verifying(self, self.verifier)

    def do_edit(self) -> None:
        version, row = self.versions.row, self.images.row
        if self.on_versions and version is not None:
            edit_version_notes(self, version)
        elif row is not None:
            edit_notes(
                self,
                _("Notes on image {name}").format(name=row.name),
                row.name,
                row.image.notes,
                lambda store, notes: store.images.set_notes(row.name, notes),
            )

    def do_remove(self) -> None:
        row = self.images.row
        if row is None:
            return
        if not self.on_versions:
            self._ask_removal(row.name, (row.name,), row.versions, image=row.name)
            return
        chosen = self.versions.chosen
        if chosen:
            names = tuple(name_of(version) for version in chosen)
            self._ask_removal(" ".join(names), names, tuple(chosen))

    def _ask_removal(
        self, word: str, names: tuple[str, ...], versions: tuple[ImageVersion, ...], image: str = ""
    ) -> None:
        """First ask what it frees, then whether it is meant."""
        refusal = in_use(self.snapshot, versions, image)
        if refusal:
            self.console.say(refusal, "alarm")
            return

        def ask(freed: str) -> None:
            lines = [freed, *_lost(self.snapshot, versions)]
            title = _("Remove {names}?").format(names=fit(", ".join(names), 50).strip())
            asked = word if len(names) == 1 else str(len(names))
            self.app.push_screen(
                Confirm(title, lines, word=asked), lambda yes: self._remove(names, versions, image) if yes else None
            )

        def then(told: Any) -> None:
            ask(_("This frees {size} on the image disk.").format(size=words.size(int(told["bytes"]))))

        def failed(error: ApplianceError) -> None:
            ask(_("How much this frees is not known: {why}").format(why=sentences.explain(error)))

        self.console.say(_("Counting what that frees ..."))
        arguments = ("image", "remove", *names, "--dry-run", "--json")
        child.start(self.console, *arguments, then=then, failed=failed, group="image-frees")

    def _remove(self, names: Sequence[str], versions: Sequence[ImageVersion], image: str) -> None:
        def verb(store: Store, index: int) -> None:
            if image:
                store.images.remove(image)
            else:
                version = versions[index]
                store.images.remove_version(version.id, image_name=version.image_name)

        def done(count: int) -> None:
            self.versions.unmark()
            if count:
                text = _("Removed {names}. Its space is freed by the scheduler, what is younger than an hour later.")
                self.console.say(text.format(names=", ".join(names)))

        indexes = list(range(len(names)))
        self.session.do_each("image remove", indexes, lambda index: names[index], verb, then=done)


def _lost(snapshot: Snapshot, versions: Sequence[ImageVersion]) -> list[str]:
    """What goes, and what does not."""
    lines = []
    for version in versions[:6]:
        text = _("{name}, captured {time} from {master}").format(
            name=name_of(version), time=words.moment(version.created), master=version.master_name or "?"
        )
        lines.append(text + (f": {version.notes}" if version.notes else ""))
    if len(versions) > len(lines):
        lines.append(_("and {n} more").format(n=len(versions) - len(lines)))
    hosts = sum(len(holders(snapshot, version)) for version in versions)
    if hosts:
        lines.append(_("{pcs} keep it on their disks, but can get it from here no more.").format(pcs=words.pcs(hosts)))
    lines.append(_("There is no way back."))
    return lines

"""The command palette: every screen and action, every host and image, by some letters of its name."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from appliance.tui import keys
from appliance.tui.i18n import _
from appliance.tui.screens.table import HOST, IMAGE, JOBS, SCREENS, load
from appliance.tui.widgets.dialogs import Item, Pick

if TYPE_CHECKING:
    from appliance.tui.app import ConsoleApp

GO, ACT, THING = "go", "act", "thing"
# What is done by the cursor, or only where one already is.
_NOT_HERE = {"palette", "back", "find", *(key.name for key in keys.LIST)}


def open_palette(app: ConsoleApp) -> None:
    """Show the palette and do what is chosen."""

    def chosen(key: tuple[str, str, object] | None) -> None:
        if key is None:
            return
        what, name, detail = key
        if what == GO:
            app.go(name)
        elif what == THING:
            app.show_thing(name, detail)
        else:
            app.act(name, str(detail))

    app.push_screen(Pick(_("What do you want to do or see?"), list(items(app))), chosen)


def items(app: ConsoleApp) -> Iterator[Item]:
    """All entries: actions of the screen shown first, then common ones, screens, the other screens' actions, things."""
    session, here = app.session, app.base_screen
    if here is not None:
        title = next((_(entry.title) for entry in SCREENS if entry.name == here.NAME), "")
        own = here.own_keys()
        yield from (_action(here.NAME, key.name, key, title) for key in own if key.name not in _NOT_HERE)
        yield from _others(app, here.NAME, here.actions(), title, {key.words for key in own})
    absent = {"capture", "deploy", "new_pcs"} - {job.name for job in JOBS}
    for key in keys.GLOBAL:
        if key.name not in absent | _NOT_HERE and not session.may(key.need):
            yield _action("", key.name, key, "")
    for entry in SCREENS:
        yield Item((GO, entry.name, ""), _(entry.title), _("screen, key {key}").format(key=entry.key))
        for part in getattr(load(entry.path), "PARTS", ()):
            hint = _("{screen}, key {key}").format(screen=_(entry.title), key=entry.key)
            yield Item((ACT, entry.name, f"{part.NAME}."), _(part.TITLE), hint)
    for entry in SCREENS:
        if here is None or entry.name != here.NAME:
            yield from _others(app, entry.name, load(entry.path).actions(), _(entry.title), set())
    kinds = {kind for entry in SCREENS for kind in entry.kinds}
    snapshot = app.model.latest
    if IMAGE in kinds:
        for image in snapshot.images:
            yield Item((THING, IMAGE, image.name), image.name, _("image"))
    if HOST in kinds:
        for host in snapshot.hosts:
            yield Item((THING, HOST, host.id), host.name, _("host {macs}").format(macs=" ".join(host.macs)))


def _others(
    app: ConsoleApp, screen: str, actions: list[tuple[str, keys.Key]], title: str, known: set[str]
) -> Iterator[Item]:
    """Actions of a screen that are not listed yet; what several parts of it say in the same words is one."""
    for name, key in actions:
        if key.name not in _NOT_HERE and key.words not in known and not app.session.may(key.need):
            known.add(key.words)
            yield _action(screen, name, key, title)


def _action(screen: str, action: str, key: keys.Key, title: str) -> Item:
    hint = (
        _("{screen}, key {key}").format(screen=title, key=_(key.shown))
        if title
        else _("key {key}").format(key=_(key.shown))
    )
    name: Hashable = (ACT, screen, action)
    return Item(name, _(key.words), hint)

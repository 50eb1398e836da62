"""What can be done to chosen hosts, on the list and on a host's own page. Each asks first where something is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from appliance.model import Host, Room
from appliance.tui import words
from appliance.tui.i18n import _
from appliance.tui.widgets.dialogs import Confirm, Form, Item, Pick
from appliance.tui.widgets.forms import Field

if TYPE_CHECKING:
    from appliance.tui.screens.base import ConsoleScreen

_MOST_NAMES = 8  # in a question
Then = Callable[[], None]


def names_of(hosts: Sequence[Host]) -> str:
    """Some names, and how many more."""
    text = ", ".join(host.name for host in hosts[:_MOST_NAMES])
    more = len(hosts) - _MOST_NAMES
    return f"{text} {_('and {n} more').format(n=words.number(more))}" if more > 0 else text


def wake(screen: ConsoleScreen, hosts: Sequence[Host], then: Then) -> None:
    """Have the scheduler send magic packets."""
    names = [host.name for host in hosts]
    if not names:
        screen.console.say(_("There is nothing to wake."))
        return
    screen.session.do(
        "host wake",
        ", ".join(names),
        lambda store: store.hosts.wake(names),
        said=_("Waking {pcs}.").format(pcs=words.pcs(len(names))),
        then=lambda _nothing: then(),
    )


def seal(screen: ConsoleScreen, hosts: Sequence[Host], then: Then) -> None:
    """Seal hosts, or lift the seal when all of them are sealed."""
    sealed = not all(host.sealed for host in hosts)
    changing = [host for host in hosts if host.sealed is not sealed]
    if not changing:
        return
    if sealed:
        title = _("Seal {hosts}?")
        why = _("A sealed PC is not started from its own disk before it is captured: Sysprep would be undone.")
    else:
        title = _("Lift the seal of {hosts}?")
        why = _("The PC starts its own disk again. A generalised system sets itself up then and is no master any more.")

    def sure(yes: bool | None) -> None:
        if yes:
            screen.session.do_each(
                "host edit",
                changing,
                lambda host: f"{host.name}: {'sealed' if sealed else 'not sealed'}",
                lambda store, host: store.hosts.edit(host.name, sealed=sealed),
                then=lambda count: _said(screen, then, count, _("Sealed.") if sealed else _("The seal is lifted.")),
            )

    lines = [names_of(changing), why]
    screen.app.push_screen(Confirm(title.format(hosts=words.hosts(len(changing))), lines), sure)


def remove(screen: ConsoleScreen, hosts: Sequence[Host], then: Then) -> None:
    """Forget hosts. One needs its name typed, several their number."""
    if not hosts:
        return
    busy = [host for host in hosts if host.id in screen.snapshot.task_of_host]
    lines = [
        names_of(hosts),
        _("Their names, rooms, notes, inventories and reserved addresses are lost. Finished tasks stay in the list."),
    ]
    if busy:
        lines.append(_("These have an unfinished task and stay: {names}.").format(names=names_of(busy)))

    def sure(yes: bool | None) -> None:
        if yes:
            screen.session.do_each(
                "host remove",
                hosts,
                lambda host: host.name,
                lambda store, host: store.hosts.remove(host.name),
                then=lambda count: _said(screen, then, count, _("Removed {hosts}.").format(hosts=words.hosts(count))),
            )

    word = str(len(hosts)) if len(hosts) > 1 else hosts[0].name
    title = _("Remove {hosts}?").format(hosts=words.hosts(len(hosts)))
    screen.app.push_screen(Confirm(title, lines, word=word), sure)


def _said(screen: ConsoleScreen, then: Then, count: int, text: str) -> None:
    then()
    if count:
        screen.console.say(text)


_NEW, _NONE = object(), object()


def assign(screen: ConsoleScreen, hosts: Sequence[Host], then: Then) -> None:
    """Put hosts into a room that is chosen, or made for them."""
    if not hosts:
        return
    rooms = screen.snapshot.rooms
    items = [Item(room.name, room.name, room_hint(room)) for room in rooms]
    items += [Item(_NEW, _("A new room ..."), ""), Item(_NONE, _("No room"), "")]

    def chosen(key: object) -> None:
        if key is _NEW:
            _assign_new(screen, hosts, then)
        elif key is not None:
            _assign(screen, hosts, None if key is _NONE else str(key), then)

    screen.app.push_screen(Pick(_("Where do {hosts} stand?").format(hosts=words.hosts(len(hosts))), items), chosen)


def room_hint(room: Room) -> str:
    """How many stand there, and its notes."""
    return f"{words.pcs(room.hosts)}  {room.notes}".rstrip()


def _assign(screen: ConsoleScreen, hosts: Sequence[Host], room: str | None, then: Then) -> None:
    names = [host.name for host in hosts]
    told = _("In no room: {hosts}.") if room is None else _("In room {room}: {hosts}.")
    screen.session.do(
        "room assign",
        f"{room or 'no room'}: {', '.join(names)}",
        lambda store: store.rooms.assign(room, names),
        said=told.format(room=room, hosts=words.hosts(len(names))),
        then=lambda _moved: then(),
    )


def _assign_new(screen: ConsoleScreen, hosts: Sequence[Host], then: Then) -> None:
    names = [host.name for host in hosts]

    def save(form: Form, values: dict[str, str]) -> None:
        def done(room: Room) -> None:
            form.dismiss(values)
            then()
            screen.console.say(_("In room {room}: {hosts}.").format(room=room.name, hosts=words.hosts(len(names))))

        screen.session.do(
            "room assign",
            lambda room: f"{room.name} (new): {', '.join(names)}",
            lambda store: store.rooms.add(values["name"], host_names=names),
            then=done,
            failed=form.refuse,
        )

    screen.app.push_screen(Form(_("A new room"), [Field("name", _("Name"))], save=save))

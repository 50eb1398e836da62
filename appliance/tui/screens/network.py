"""Network: mode and interfaces, who is booting and how far, leases, reservations, other DHCP servers, shared docks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult

from appliance.config import Settings
from appliance.model import DhcpServer, Sighting
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens import host_life, hosts_forms
from appliance.tui.screens.host_page import HostPage
from appliance.tui.screens.hosts_unknown import UnknownPart, architecture
from appliance.tui.screens.network_address import InterfacesPart
from appliance.tui.screens.network_leases import DocksPart, LeasesPart, ReservationsPart
from appliance.tui.screens.network_rows import Owners, booting, head_lines, in_force, waits_for, warnings
from appliance.tui.screens.parts import Part, PartsScreen
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Reading
from appliance.tui.widgets.lines import Line, Text, wrap
from appliance.tui.widgets.rowlist import Column

_SHOW = keys.named("show", N_("Show"), N_("Choose what is shown"))
_MOST_HEAD = 8  # lines on top


class BootingPart(Part):
    """Who is booting right now, and how far."""

    NAME = "booting"
    TITLE = N_("Booting")
    MARKS = False
    EMPTY = N_("No PC has booted from the network in the last minutes.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Open"), N_("Show the host; an unknown PC can be registered")),
        _SHOW,
    )

    def __init__(self, screen: PartsScreen) -> None:
        super().__init__(screen)
        self._owners = Owners()

    def columns(self) -> list[Column[Any]]:
        def ago(sighting: Sighting) -> str:
            return words.ago(sighting.at, self.snapshot.at)

        def hangs(sighting: Sighting) -> str:
            return waits_for(self.snapshot, sighting, self._owners.by_name(self.snapshot, sighting.host_name))

        return [
            Column[Sighting](N_("PC"), lambda sighting: sighting.host_name or sighting.mac, 17, rank=0, most=24),
            Column[Sighting](
                N_("Came to"), lambda sighting: words.stage(sighting.stage), 12, rank=0, most=18, role=_stage_role
            ),
            Column[Sighting](N_("Ago"), ago, 6, rank=0, right=True, sort=lambda sighting: -sighting.at.timestamp()),
            Column[Sighting](N_("And then"), hangs, 29, rank=1, most=34),
            Column[Sighting](N_("Address"), lambda sighting: sighting.ip or "-", 13, rank=2, most=15),
            Column[Sighting](N_("Firmware"), architecture, 11, rank=3),
            Column[Sighting](N_("Steps"), _steps, 40, rank=4, most=90),
            Column[Sighting](N_("Detail"), lambda sighting: sentences.translate(sighting.detail), 20, rank=5, most=40),
        ]

    def key(self, row: Any) -> Hashable:
        return str(row.mac)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        return booting(snapshot)

    def opened(self, row: Any) -> None:
        host = self._owners.by_name(self.snapshot, row.host_name)
        if host is not None:
            self.console.push_screen(HostPage(host.id))
            return
        refusal = self.session.may(keys.OPERATOR)
        if refusal:
            self.console.say(refusal, "alarm")
        else:
            hosts_forms.register(self.screen, row, lambda made: None)


def _stage_role(sighting: Sighting) -> str:
    return "busy"


def _steps(sighting: Sighting) -> str:
    return " ▸ ".join(f"{step.text} {words.clock(step.at)}" for step in host_life.life(sighting, None))


class ServersPart(Part):
    """Other DHCP servers that were heard."""

    NAME = "servers"
    TITLE = N_("Other servers")
    MARKS = False
    EMPTY = N_("No other DHCP server was ever heard.")
    KEYS: ClassVar[tuple[Key, ...]] = (keys.named("open", N_("Open"), N_("What it means, and what to do")), _SHOW)

    def columns(self) -> list[Column[Any]]:
        def ago(server: DhcpServer) -> str:
            return words.ago(server.at, self.snapshot.at)

        return [
            Column[DhcpServer](N_("Address"), lambda server: server.ip, 15, rank=0),
            Column[DhcpServer](N_("Interface"), lambda server: server.interface, 10, rank=0),
            Column[DhcpServer](N_("Heard"), lambda server: words.moment(server.at, self.snapshot.at), 16, rank=1),
            Column[DhcpServer](N_("Ago"), ago, 7, rank=0, right=True, sort=lambda server: -server.at.timestamp()),
            Column[DhcpServer](N_("Detail"), lambda server: sentences.translate(server.detail), 20, rank=2, most=80),
        ]

    def key(self, row: Any) -> Hashable:
        return (row.ip, row.interface)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        return snapshot.servers

    def opened(self, row: Any) -> None:
        screen = self.screen
        assert isinstance(screen, NetworkScreen)
        texts = [text for text, _role in warnings(self.snapshot, screen.settings)]
        if not texts:
            texts = [_("In this mode another server is as it should be: it lends the addresses.")]
            if screen.settings.dhcp.mode == "full":
                texts = [_("It was not heard lately. The DHCP service goes on looking.")]
        title = _("DHCP server {ip}").format(ip=row.ip)
        lines: list[Line] = [((part, ""),) for text in texts for part in wrap(text, 68)]
        self.screen.app.push_screen(Reading(title, lines))


class NetworkScreen(PartsScreen):
    """See the module."""

    NAME = "network"
    ABOUT = N_(
        "Who is booting and how far: what a PC did not ask for yet is where it hangs. Leases and reserved addresses."
        " Other DHCP servers, with what to do about them. Shared docks: cards that many PCs use, which identify none."
        " The box's own interfaces, and giving one another address. Tab goes from one to the next."
    )
    PARTS = (BootingPart, LeasesPart, ReservationsPart, UnknownPart, ServersPart, DocksPart, InterfacesPart)
    DEFAULT_CSS = "NetworkScreen > #head { height: 3; }"

    def __init__(self) -> None:
        super().__init__()
        self._parsed: tuple[object, Settings] | None = None

    @property
    def settings(self) -> Settings:
        """What is set now."""
        stored = self.snapshot.settings
        if self._parsed is None or self._parsed[0] is not stored:
            self._parsed = (stored, in_force(self.console.settings, self.snapshot))
        return self._parsed[1]

    def head(self) -> ComposeResult:
        text = Text(id="head")
        text.can_focus = False
        yield text

    def on_screen_resume(self) -> None:
        """An address on trial is the first thing to be seen here."""
        super().on_screen_resume()
        if self.snapshot.gauges.trial:
            self.change_part(self.named_part(InterfacesPart.NAME))

    def show(self, snapshot: Snapshot) -> None:
        head = self.query_one("#head", Text)
        lines = head_lines(snapshot, self.settings, self.size.width)[:_MOST_HEAD]
        if head.styles.height is None or head.styles.height.value != len(lines):
            head.styles.height = len(lines)
        head.put(lines)
        super().show(snapshot)

    def go_to(self, kind: str, key: Any) -> None:
        """Nothing is shown here by its name."""

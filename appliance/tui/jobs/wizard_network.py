"""Pages of the first start: language, interface, address, DHCP and its range."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Interface
from typing import Any, ClassVar

from textual.widget import Widget

from appliance.errors import ApplianceError, UsageError
from appliance.model import DhcpServer
from appliance.system.links import Link
from appliance.tui import child, i18n, keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.jobs import ranges
from appliance.tui.jobs.choose import ListPage, Paragraphs, paragraphs
from appliance.tui.jobs.steps import Page
from appliance.tui.jobs.wizard_job import WizardJob
from appliance.tui.keys import Key
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Item
from appliance.tui.widgets.forms import Field, FormRows
from appliance.tui.widgets.lines import Line
from appliance.tui.widgets.rowlist import Column

LOOK_AGAIN = keys.named("again", N_("Look again"), N_("Look again"), need="")
FULL, PROXY = "full", "proxy"
_HEARD_FOR = timedelta(minutes=15)  # how long another server that the DHCP service heard is thought to be there


class LanguagePage(ListPage[WizardJob]):
    """Answers: `language`."""

    NAME = "language"
    TITLE = N_("Which language?")
    ABOUT = N_("The language of this box. Each operator may choose another one later, with ^L.")
    TITLES = False

    def rows(self, snapshot: Snapshot) -> Sequence[Item]:
        return [Item(code, name) for code, name in i18n.LANGUAGES.items()]

    def first(self) -> Hashable:
        return self.session.language

    def answer(self) -> str:
        return i18n.LANGUAGES.get(self.answers.get("language", ""), "")

    async def row_opened(self, row: Item) -> None:
        from appliance.tui.app import LANGUAGE_SETTING

        language = str(row.key)
        self.answers["language"] = language
        self.console._use_language(language)
        self.session.do(
            "console language",
            language,
            lambda store: store.settings.set(LANGUAGE_SETTING, language),
            need=keys.ADMIN,
        )
        await self.job.forward()


class InterfacePage(ListPage[WizardJob]):
    """Answers: `interface`."""

    NAME = "interface"
    TITLE = N_("Which network?")
    ABOUT = N_("The interface that the PCs of the lab are reached by. The box answers nobody on another one.")
    EMPTY = N_("This machine has no network interface.")
    KEYS: ClassVar[tuple[Key, ...]] = (LOOK_AGAIN,)

    def __init__(self, job: WizardJob) -> None:
        super().__init__(job)
        self._links: list[Link] = []

    def columns(self) -> list[Column[Any]]:
        return [
            Column[Link](N_("Interface"), lambda link: link.name, 14, rank=0, most=20),
            Column[Link](N_("Link"), _link_words, 16, rank=0, role=lambda link: "ok" if link.up else "warn"),
            Column[Link](N_("Address"), _addresses, 22, rank=0, most=40),
            Column[Link]("MAC", lambda link: link.mac, 17, rank=1),
        ]

    def key_of(self, row: Link) -> Hashable:
        return row.name

    def rows(self, snapshot: Snapshot) -> Sequence[Link]:
        return self._links

    def opened(self) -> None:
        self._links = usable(self.job.look())
        super().opened()

    def first(self) -> Hashable:
        known = self.answers.get("interface")
        return known or next((link.name for link in self._links if link.up and link.addresses), None)

    def do_again(self) -> None:
        self._links = usable(self.job.look())
        self.show(self.snapshot)

    def answer(self) -> str:
        return str(self.answers.get("interface", ""))

    async def row_opened(self, row: Link) -> None:
        if self.answers.get("interface") != row.name:
            for name in ("address", "first", "last"):
                self.answers.pop(name, None)
        self.answers["interface"] = row.name
        await self.job.forward()

    async def enter(self) -> None:
        """No interface: nothing to go on with."""


def usable(found: Sequence[Link]) -> list[Link]:
    """All interfaces but the loopback."""
    return [link for link in found if link.name != "lo"]


def _link_words(link: Link) -> str:
    if not link.up:
        return _("no link")
    return f"{words.number(link.speed_mbit)} Mbit/s" if link.speed_mbit else _("link")


def _addresses(link: Link) -> str:
    return ", ".join(map(str, link.addresses)) or _("no address")


@dataclass(frozen=True, slots=True)
class Mode:
    """A way of doing DHCP. Texts are message ids."""

    key: str
    label: str
    words: str


MODES = (
    Mode(FULL, N_("Full server"), N_("this box gives the PCs their addresses")),
    Mode(PROXY, N_("Beside another server"), N_("it gives addresses, this box boots (proxyDHCP)")),
)


class ModePage(ListPage[WizardJob]):
    """Answers: `mode`. It listens for other servers first, and proposes."""

    NAME = "mode"
    TITLE = N_("Who gives addresses?")
    ABOUT = N_("Two DHCP servers that both lend addresses on one network disturb each other. So the box listens first.")
    TITLES = False
    KEYS: ClassVar[tuple[Key, ...]] = (LOOK_AGAIN,)

    def __init__(self, job: WizardJob) -> None:
        super().__init__(job)
        self._trouble = ""
        self._listening = False

    def columns(self) -> list[Column[Any]]:
        return [
            Column[Mode]("", lambda mode: _(mode.label), 24, rank=0),
            Column[Mode]("", lambda mode: _(mode.words), 48, rank=0, most=70, role=lambda mode: "dim"),
        ]

    def rows(self, snapshot: Snapshot) -> Sequence[Mode]:
        return MODES

    def first(self) -> Hashable:
        return self.answers.get("mode")

    def opened(self) -> None:
        self._listening = False
        super().opened()
        self.do_again()

    def do_again(self) -> None:
        if not self._listening:
            self._listening = True
            self._trouble = ""
            self.show(self.snapshot)
            self.job.background(self._listen, "setup-listen")

    async def _listen(self) -> None:
        """By our own command line: it needs a service's packets and root's port."""
        try:
            found = await child.ask(self.console, "doctor", "--listen", self.answers["interface"], "--json")
            bad = next((each for each in found if each["level"] == "problem"), None)
            if bad is not None:
                self._trouble = f"{sentences.translate(bad['text'])} {sentences.translate(bad['remedy'])}"
        except ApplianceError as error:
            self._trouble = sentences.explain(error)
        await asyncio.to_thread(self.console.model.look)
        self._listening = False
        if self.job.page is self and self.job.is_there:
            self.job.call_later(self._propose)

    def _propose(self) -> None:
        if self.job.page is self:
            if "mode" not in self.answers:
                self.list.go_to(PROXY if self.servers(self.snapshot) else FULL)
            self.show(self.snapshot)

    def servers(self, snapshot: Snapshot) -> list[DhcpServer]:
        """Others that were heard on the chosen interface a moment ago and lend addresses."""
        name = self.answers.get("interface")
        return [
            server
            for server in snapshot.servers
            if server.interface == name and _lately(server.at, snapshot.at) and server.detail.startswith("offers")
        ]

    def said(self, snapshot: Snapshot, width: int) -> Sequence[Line]:
        name = self.answers.get("interface", "")
        if self._listening:
            text = _("Listening for other DHCP servers on {interface} ...").format(interface=name)
            return paragraphs([text], width, "busy")
        heard = self.servers(snapshot)
        if heard:
            text = _("Heard on {interface}: {servers}.").format(
                interface=name, servers=", ".join(server.ip for server in heard)
            )
            why = _("Proposed: beside it. Two servers would give the same addresses twice.")
            return paragraphs([text, why], width, "warn")
        if self._trouble:
            why = _("Nothing is proposed: ask who runs this network.")
            return paragraphs([self._trouble, why], width, "bad")
        text = _("No other DHCP server answers on {interface}.").format(interface=name)
        why = _("Proposed: full server. Without one the PCs would get no address.")
        return paragraphs([text, why], width, "ok")

    def answer(self) -> str:
        return next((_(mode.label) for mode in MODES if mode.key == self.answers.get("mode")), "")

    async def row_opened(self, row: Mode) -> None:
        self.answers["mode"] = row.key
        if row.key == FULL:
            await self.job.forward()
        else:
            self.job.apply_network(lambda error: self.console.say(sentences.explain(error), "alarm"))


def _lately(when: datetime, now: datetime) -> bool:
    return abs(now - when) < _HEARD_FOR


class RangePage(Page[WizardJob]):
    """Answers: `first`, `last`, `router`, `dns`. Asked of a full server only."""

    NAME = "range"
    TITLE = N_("Which addresses?")
    ABOUT = N_("The addresses that PCs get, inside the box's own subnet and clear of what has a fixed address.")

    def applies(self) -> bool:
        return self.answers.get("mode") == FULL

    def widgets(self) -> Iterable[Widget]:
        yield Paragraphs(id="subnet")
        answers, own = self.answers, self.job.own
        proposed = ranges.proposal(own) if own is not None else None
        first, last = map(str, proposed) if proposed else ("", "")
        yield FormRows(
            [
                Field("first", _("First address"), value=answers.get("first", first), check=_address),
                Field("last", _("Last address"), value=answers.get("last", last), check=_address),
                Field(
                    "router",
                    _("Router"),
                    value=answers.get("router", ""),
                    hint=_("Empty: the PCs are told none, as in a lab of its own."),
                    check=_addresses_or_none,
                ),
                Field(
                    "dns",
                    _("Name servers"),
                    value=answers.get("dns", ""),
                    hint=_("Empty: none. Several with commas."),
                    check=_addresses_or_none,
                ),
            ]
        )

    def opened(self) -> None:
        own = self.job.own
        text = _("The subnet is {network}; this box is {address}.").format(
            network=own.network if own else "?", address=own.ip if own else "?"
        )
        told = [text]
        if own is not None and ranges.proposal(own) is None:
            told.append(_("It has hardly any room for a range: take a larger subnet."))
        self.job.query_one("#subnet", Paragraphs).tell(paragraphs(told, self.job.size.width))

    def keep(self) -> None:
        self.answers.update({name: value.strip() for name, value in self.job.query_one(FormRows).values.items()})

    def answer(self) -> str:
        return f"{self.answers['first']} - {self.answers['last']}" if self.answers.get("first") else ""

    async def submitted(self, values: dict[str, Any]) -> None:
        rows = self.job.query_one(FormRows)
        try:
            self._check(values)
        except ApplianceError as error:
            rows.complain({"": sentences.explain(error)})
            return
        self.keep()
        self.job.apply_network(lambda error: rows.complain({"": sentences.explain(error)}))

    def _check(self, values: dict[str, Any]) -> None:
        own = self.job.own
        if own is None:
            raise UsageError("The box has no address yet.", hint="Go back and choose one.")
        router = values["router"].strip()
        ranges.check(
            IPv4Interface(own),
            ranges.address(values["first"]),
            ranges.address(values["last"]),
            ranges.address(router) if router else None,
        )


def _address(text: str) -> str:
    ranges.address(text)
    return ""


def _addresses_or_none(text: str) -> str:
    ranges.addresses(text)
    return ""

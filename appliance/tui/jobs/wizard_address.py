"""Page of the first start: the address that the box has on its network, or another one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from ipaddress import IPv4Interface
from typing import ClassVar

from appliance.system import address
from appliance.system.address import State
from appliance.tui import box_address, sentences
from appliance.tui.i18n import N_, _
from appliance.tui.jobs.choose import ListPage, paragraphs
from appliance.tui.jobs.wizard_job import WizardJob
from appliance.tui.jobs.wizard_network import LOOK_AGAIN
from appliance.tui.keys import Key
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Item
from appliance.tui.widgets.lines import Line

ANOTHER = "another"


class AddressPage(ListPage[WizardJob]):
    """Answers: `address` with its prefix length, and `several` when the interface has more than one."""

    NAME = "address"
    TITLE = N_("Which address?")
    ABOUT = N_(
        "The address that PCs reach the box by: the one that the interface has, or another one, which is on trial for a"
        " minute before it is kept. It must be a fixed one: PCs come back to it."
    )
    KEYS: ClassVar[tuple[Key, ...]] = (LOOK_AGAIN,)
    TITLES = False

    def __init__(self, job: WizardJob) -> None:
        super().__init__(job)
        self._addresses: tuple[IPv4Interface, ...] = ()
        self._obstacle = ""

    def rows(self, snapshot: Snapshot) -> Sequence[Item]:
        keep = _("leave it as it is")
        there = [Item(str(each), str(each), keep) for each in self._addresses]
        return [*there, Item(ANOTHER, _("Another address ..."), _("set it now"))]

    def opened(self) -> None:
        self._obstacle = ""
        self._look()
        super().opened()

    def _look(self) -> None:
        name = self.answers.get("interface")
        self._addresses = next((link.addresses for link in self.job.look() if link.name == name), ())

    def do_again(self) -> None:
        self._look()
        self.show(self.snapshot)

    def said(self, snapshot: Snapshot, width: int) -> Sequence[Line]:
        name = self.answers.get("interface", "")
        if self._obstacle and self._addresses:
            return paragraphs([self._obstacle], width, "bad")
        if self._obstacle:
            for_now = [
                _("Or for now, in a shell:"),
                f"  ip addr add 10.20.4.1/22 brd + dev {name}",
                _("Then press r to look again."),
            ]
            return [*paragraphs([self._obstacle], width, "bad"), *paragraphs(for_now, width, "warn")]
        if self._addresses:
            told = _("{interface} has this address. It must be a fixed one: PCs come back to it.")
            return paragraphs([told.format(interface=name)], width)
        told = _("{interface} has no IPv4 address, and the PCs need one to reach this box by.")
        return paragraphs([told.format(interface=name)], width, "warn")

    def first(self) -> Hashable:
        return self.answers.get("address")

    def answer(self) -> str:
        return str(self.answers.get("address", ""))

    async def row_opened(self, row: Item) -> None:
        if row.key == ANOTHER:
            value = "" if self._addresses else "10.20.4.1/22"
            box_address.ask(self.console, self.answers["interface"], value, self._ended, self._cannot)
            return
        self._take(str(row.key))
        await self.job.forward()

    def _take(self, chosen: str) -> None:
        if self.answers.get("address") != chosen:
            for name in ("first", "last"):
                self.answers.pop(name, None)
        self.answers["address"] = chosen
        self.answers["several"] = len(self._addresses) > 1

    def _cannot(self, why: str) -> None:
        self._obstacle = why
        if self.job.page is self and self.job.is_there:
            self.show(self.snapshot)

    def _ended(self, state: State) -> None:
        """The trial is over: go on with what the interface has now."""
        if self.job.page is not self or not self.job.is_there:
            return
        self._look()
        self.show(self.snapshot)
        if state.stage != address.KEPT:
            return
        self.console.say(sentences.translate(state.text))
        kept = next((each for each in self._addresses if state.wanted in (address.DHCP, str(each))), None)
        if kept is not None:
            self._take(str(kept))
            self.job.call_later(self.job.forward)

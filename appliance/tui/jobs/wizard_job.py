"""What the pages of the first start share: its answers, where it stands, and what it writes as settings.

Where it stands is kept in the store (`console.wizard.at` and `console.wizard.answers`, never the password), so that
every page can be left and any admin's console takes it up again. What is decided is written at once, as the settings it
is about; `console.setup` = `done` ends it for good.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Interface
from typing import Any

from appliance import overrides
from appliance.errors import ApplianceError
from appliance.store import Store
from appliance.system.links import Link, links
from appliance.tui import keys
from appliance.tui.app import SETUP_SETTING
from appliance.tui.i18n import N_, _
from appliance.tui.jobs.steps import JobScreen

PREFIX = "console.wizard."
AT, ANSWERS = PREFIX + "at", PREFIX + "answers"
DONE = "done"


class WizardJob(JobScreen):
    """See the module. Its pages are in `wizard.SetupJob`."""

    TITLE = N_("First start")
    NAME = "setup"
    NEED = keys.ADMIN

    def begin(self) -> str:
        """Where it was left; else at the beginning, with what the settings say already."""
        stored = self.snapshot.settings
        try:
            answers = json.loads(stored.get(ANSWERS, "{}"))
        except ValueError:
            answers = {}
        if isinstance(answers, dict):
            self.answers.update(answers)
        interfaces = self.console.settings.network.interfaces
        if interfaces:
            self.answers.setdefault("interface", interfaces[0])
        at = stored.get(AT, "")
        return at if any(at == page.NAME for page in self.pages) else self.pages[0].NAME

    def takes_up(self) -> bool:
        return False  # from the store, not from this console's drafts

    def look(self) -> list[Link]:
        """The machine's interfaces at this moment."""
        return links()

    @property
    def own(self) -> IPv4Interface | None:
        """The box's address on the chosen interface, with its subnet."""
        try:
            return IPv4Interface(self.answers["address"])
        except (KeyError, ValueError):
            return None

    async def turn_to(self, name: str) -> None:
        before = self.page.NAME
        await super().turn_to(name)
        if name != before:
            self._remember()

    def _remember(self) -> None:
        """Keep where it stands."""
        if self.over or self.session.may(keys.ADMIN):
            return
        at, text = self.page.NAME, json.dumps(self.answers)
        if (self.snapshot.settings.get(AT), self.snapshot.settings.get(ANSWERS)) == (at, text):
            return
        kept = {AT: at, ANSWERS: text}
        self.session.do("setup", f"page {at}", lambda store: store.settings.set_all(kept), need=keys.ADMIN)

    def leave(self) -> None:
        if self._ready:
            self.page.keep()
        if not self.over:
            self._remember()
            self.console.say(_("The first start is not finished. The overview takes it up again."))
        self.dismiss(None)

    # -- what pages decide

    def apply_network(self, failed: Callable[[ApplianceError], None]) -> None:
        """Write interface, mode and range as settings, in an order in which each step is valid; then go on."""
        answers, base = dict(self.answers), self.console.file_settings
        values = network_settings(answers, told_another=self.console.settings.network.address is not None)

        def work(store: Store) -> None:
            for name, value in values:
                overrides.change(store, base, name, value)

        detail = ", ".join(f"{name} = {json.dumps(value)}" for name, value in values)
        self.session.do("setting set", detail, work, then=self._on, failed=failed, need=keys.ADMIN)

    def _on(self, _nothing: object) -> None:
        self.call_later(self.forward)

    def finish(self) -> None:
        """The box is set up."""

        def work(store: Store) -> None:
            remembered = store.settings.all(PREFIX)
            store.settings.set_all({SETUP_SETTING: DONE, **dict.fromkeys(remembered, "")})

        def done(_nothing: object) -> None:
            self.ordered()
            self.dismiss(None)
            self.console.say(_("This box is set up. c captures a master, d deploys it."))

        self.session.do("setup", "done", work, then=done, need=keys.ADMIN)


def network_settings(answers: dict[str, Any], *, told_another: bool = False) -> list[tuple[str, Any]]:
    """The settings that the answers mean, in the order to write them: a full server needs its subnet first.

    `told_another`: clients are told an address by an earlier setting.
    """
    own = IPv4Interface(answers["address"])
    address: list[tuple[str, Any]] = []
    if answers.get("several") or told_another:
        address = [("network.address", str(own.ip) if answers.get("several") else "")]
    interfaces = ("network.interfaces", [answers["interface"]])
    if answers["mode"] != "full":
        return [("dhcp.mode", answers["mode"]), interfaces, *address]
    subnet = {
        "network": str(own.network),
        "range_first": answers["first"],
        "range_last": answers["last"],
        "router": answers.get("router", ""),
        "dns": [part for part in answers.get("dns", "").replace(",", " ").split() if part],
    }
    return [("dhcp.subnet", [subnet]), ("dhcp.mode", "full"), interfaces, *address]

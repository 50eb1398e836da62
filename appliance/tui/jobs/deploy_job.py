"""What the pages of a deploy share: the answers, what they mean, the orders, and the tasks that are watched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from appliance.errors import ApplianceError
from appliance.events import AfterTask
from appliance.model import Host, Task
from appliance.store.hosts import natural
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.jobs import orders, progress
from appliance.tui.jobs.choose import (
    marked_hosts,
    selected_version,
)
from appliance.tui.jobs.orders import Ordered, Way
from appliance.tui.jobs.steps import JobScreen
from appliance.tui.widgets.forms import FormRows
from appliance.when import start_time

CAST, ALONE = "cast", "alone"
NOW, LATER = "now", "later"
IMAGE, HOSTS, WATCH = "image", "hosts", "watch"  # names of pages


def whole(low: int, high: int) -> Any:
    """A check of a field: a whole number in these limits."""

    def check(text: str) -> str:
        if text.isdecimal() and low <= int(text) <= high:
            return ""
        return _("Write a number from {low} to {high}.").format(low=low, high=words.number(high))

    return check


class Deploying(JobScreen):
    """See the module; its pages are in `deploy.DeployJob`.

    `hosts` are names of hosts to begin with, `version_id` an image; with `tasks`, numbers of tasks, it shows how
    those go.
    """

    TITLE = N_("Deploy to PCs")
    NAME = "deploy"

    def __init__(self, hosts: Sequence[str] = (), version_id: str = "", tasks: Sequence[int] = ()) -> None:
        super().__init__()
        self.numbers: tuple[int, ...] = tuple(tasks)
        self.refused: tuple[tuple[str, ApplianceError], ...] = ()
        self._names = frozenset(hosts)
        self._version_id = version_id
        self._marked: list[int] = []
        self._ordering = False

    def begin(self) -> str:
        if self.numbers:
            return WATCH
        below = self.console.base_screen
        self._marked = [host.id for host in self.snapshot.hosts if host.name in self._names]
        self._marked = self._marked or [host.id for host in marked_hosts(below)]
        version = selected_version(below)
        self._version_id = self._version_id or (version.id if version is not None else "")
        if self._marked:
            self.answers["hosts"] = self._marked
        if self._version_id:
            self.answers["version"] = self._version_id
        return HOSTS if self._version_id else IMAGE

    def takes_up(self) -> bool:
        """A cursor stands on some host anyway: only marked ones and a chosen image are another job."""
        return not self.numbers and not self._version_id and len(self._marked) < 2

    @property
    def version(self) -> Any:
        """The chosen version."""
        return self.snapshot.version_by_id.get(self.answers.get("version", ""))

    @property
    def hosts(self) -> list[Host]:
        """The chosen PCs that are still there, by name."""
        known = self.snapshot.host_by_id
        found = [known[number] for number in self.answers.get("hosts", ()) if number in known]
        return sorted(found, key=lambda host: natural(host.name))

    @property
    def tasks(self) -> list[Task]:
        """The tasks that are watched."""
        return progress.of_numbers(self.snapshot, self.numbers)

    def way(self) -> Way:
        """The answers as the store wants them."""
        answers = self.answers
        start_at: datetime | None = None
        if answers["when"] == LATER:
            start_at = start_time(answers["at"].strip(), self.console.clock().astimezone())
        return Way(
            cast=answers["way"] == CAST,
            wait_for=int(answers.get("wait_for") or 0) if answers["way"] == CAST else 0,
            wait_seconds=self.console.settings.cast.wait_s,
            after=AfterTask(answers["after"]),
            start_at=start_at,
            wake=bool(answers.get("wake")),
            now=self.console.clock(),
        )

    def order(self, hosts: Sequence[Host]) -> None:
        """Give the orders, and watch."""
        if self._ordering:
            return
        try:
            way = self.way()
        except ApplianceError as error:  # its time has passed while somebody was thinking
            self.complain(error)
            return
        self._ordering = True
        version_id, actor, groups = self.answers["version"], self.session.actor, self.console.settings.cast.groups
        name = self.named("image").answer()

        def failed(error: ApplianceError) -> None:
            self._ordering = False
            self.complain(error)

        self.session.do(
            "deploy job",
            lambda done: f"{name} to {len(done.tasks)} PCs" + (f", cast {done.cast_id}" if done.cast_id else ""),
            lambda store: orders.deploy(store, version_id, hosts, way, groups, actor),
            then=self._ordered,
            failed=failed,
        )
        if self.session.may(keys.OPERATOR):
            self._ordering = False

    def complain(self, error: ApplianceError) -> None:
        """The order was refused: say so beside what was typed."""
        for rows in self.query(FormRows):
            rows.complain({"": sentences.explain(error)})

    def _ordered(self, done: Ordered) -> None:
        self.ordered()
        self.refused = done.refused
        self.call_later(self.follow, [task.id for task in done.tasks])

    async def follow(self, numbers: Sequence[int]) -> None:
        """Show how these tasks go."""
        self.numbers = tuple(numbers)
        await asyncio.to_thread(self.console.model.look)
        await self.turn_to(WATCH)

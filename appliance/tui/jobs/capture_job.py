"""What the pages of a capture share: the answers, what they mean, the order, and the task that is watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.events import AfterTask
from appliance.model import Host, Task
from appliance.store import Store
from appliance.tui import words
from appliance.tui.i18n import N_, _
from appliance.tui.jobs.choose import selected_hosts
from appliance.tui.jobs.steps import JobScreen

UNKNOWN = "next"  # key of the next unknown PC
WINDOWS, LINUX, COPY = "windows", "linux", "copy"  # how a master was prepared; only `windows` is sealed
HANDS, WAKE = "hands", "wake"
HOST, WATCH = "host", "watch"  # names of the first page and the last


class Capturing(JobScreen):
    """See the module; its pages are in `capture.CaptureJob`.

    `hosts` are names to begin with; with a task's number it shows how far that capture is.
    """

    TITLE = N_("Capture a master")
    NAME = "capture"

    def __init__(self, hosts: Sequence[str] = (), task_id: int | None = None) -> None:
        super().__init__()
        self._given = tuple(hosts)
        self._watched = task_id
        self._current: Task | None = None

    def begin(self) -> str:
        if self._watched is not None:
            return WATCH
        hosts = [host for host in self.snapshot.hosts if host.name in self._given]
        hosts = hosts or selected_hosts(self.console.base_screen)
        if len(hosts) == 1 and hosts[0].id not in self.snapshot.task_of_host:
            self.answers["host"] = hosts[0].id
        return HOST

    def takes_up(self) -> bool:
        return self._watched is None

    @property
    def host(self) -> Host | None:
        """The PC that was chosen; None for the next unknown one."""
        return self.snapshot.host_by_id.get(self.answers.get("host") or 0)

    @property
    def sealed(self) -> bool:
        """Whether the master was generalised."""
        return self.answers.get("prepared") == WINDOWS

    @property
    def wakes(self) -> bool:
        """Whether the PC is woken."""
        return self.host is not None and self.answers.get("start") == WAKE

    @property
    def current(self) -> Task | None:
        """The capture that is watched."""
        if self._watched is not None:
            self._current = self.snapshot.task(self._watched) or self._current
        return self._current

    def newest(self, image_name: str) -> Any:
        """The newest version of an image, in any case of its name."""
        found = (v for v in self.snapshot.versions if v.image_name.lower() == image_name.lower())
        return max(found, key=lambda version: version.number, default=None)

    def becomes(self, image_name: str) -> str:
        """What the capture will be, in words."""
        version = self.newest(image_name)
        if not image_name:
            return ""
        if version is None:
            return _("{image}, a new image -> v1").format(image=image_name)
        return _("{image} (now v{old}, {size}) -> v{new}").format(
            image=version.image_name, old=version.number, size=words.size(version.used_bytes), new=version.number + 1
        )

    def order(self) -> None:
        """Give the order, and watch."""
        host, answers, sealed, wake = self.host, dict(self.answers), self.sealed, self.wakes
        now = self.console.clock()
        self.answers["becomes"] = self.becomes(answers["image"])

        def work(store: Store) -> Task:
            return store.tasks.capture(
                host, answers["image"], sealed=sealed, after=AfterTask(answers["after"]), wake=wake, now=now
            )

        def detail(task: Task) -> str:
            return f"task {task.id}: {task.host_name or 'the next unknown PC'} as {task.image_name}"

        self.session.do("capture", detail, work, then=self.ordered_as)

    def ordered_as(self, task: Task) -> None:
        """The order was given."""
        self.ordered()
        self._current = task
        self.call_later(self.follow, task.id)

    async def follow(self, task_id: int) -> None:
        """Show how far a capture is."""
        self._watched = task_id
        self._current = self.snapshot.task(task_id) or (
            self._current if self._current and self._current.id == task_id else None
        )
        await self.turn_to(WATCH)

    def deploy(self, version_id: str) -> None:
        """Go on with a deploy of what was captured."""
        self.dismiss(None)
        self.console.open_job("deploy", (), version_id)

"""Verifying versions: children one after another, each of which counts what it has read, and what they found.

What was found is known to this console only: it is no state of the version, the next read may find something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from appliance.errors import ApplianceError
from appliance.model import ImageVersion
from appliance.tui import child, sentences, words
from appliance.tui.i18n import _, ngettext

if TYPE_CHECKING:
    from textual.worker import Worker

    from appliance.tui.app import ConsoleApp

_LONGEST_S = 24 * 3600.0


class Found(Enum):
    """How a verification is."""

    WAITS = "waits"
    READS = "reads"
    SOUND = "sound"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"  # it could not be done
    STOPPED = "stopped"


ROLES: dict[Found, str] = {
    Found.WAITS: "dim",
    Found.READS: "busy",
    Found.SOUND: "ok",
    Found.DAMAGED: "bad",
    Found.UNKNOWN: "warn",
    Found.STOPPED: "dim",
}


@dataclass(frozen=True, slots=True)
class Check:
    """The last verification of one version."""

    name: str  # win11@3
    found: Found
    done: int = 0  # chunks
    total: int = 0
    at: datetime | None = None  # it ended
    problems: tuple[str, ...] = ()  # English sentences

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.found in (Found.WAITS, Found.READS)

    def short(self) -> str:
        """For a column."""
        match self.found:
            case Found.WAITS:
                return _("waits")
            case Found.READS:
                return "▸ " + words.percent(self.done / self.total if self.total else 0.0).strip()
            case Found.SOUND:
                return f"● {_('sound')} {words.moment(self.at, self.at)}"
            case Found.DAMAGED:
                return f"▲ {_('DAMAGED')}"
            case Found.UNKNOWN:
                return f"▲ {_('not done')}"
            case Found.STOPPED:
                return _("stopped")

    def long(self) -> str:
        """A sentence."""
        match self.found:
            case Found.WAITS:
                return _("It is verified after the ones before it.")
            case Found.READS:
                text = _("Being verified: {done} of {total} chunks read.")
                return text.format(done=words.number(self.done), total=words.number(self.total))
            case Found.SOUND:
                text = _("Sound {time}: every chunk is as it was captured ({n}).")
                return text.format(time=words.moment(self.at), n=words.number(self.done))
            case Found.DAMAGED:
                count = len(self.problems)
                text = ngettext("DAMAGED, {n} fault found {time}.", "DAMAGED, {n} faults found {time}.", count)
                more = _(
                    "Do not deploy it. Capture again from a PC that holds it, or remove it; what is wrong stands below."
                )
                return f"{text.format(time=words.moment(self.at), n=words.number(count))} {more}"
            case Found.UNKNOWN:
                return _("It could not be verified: {why}").format(why=sentences.translate(" ".join(self.problems)))
            case Found.STOPPED:
                return _("Verifying was stopped.")


class Verifier:
    """Reads versions one after another. `told` is called whenever something is new."""

    def __init__(self, console: ConsoleApp, told: Callable[[], None]) -> None:
        self._console = console
        self._told = told
        self._queue: list[str] = []  # ids
        self._worker: Worker[None] | None = None
        self.checks: dict[str, Check] = {}  # by version id

    def check(self, version_id: str) -> Check | None:
        """The last verification of a version."""
        return self.checks.get(version_id)

    @property
    def is_busy(self) -> bool:
        """Whether anything is being read."""
        return any(check.is_open for check in self.checks.values())

    def add(self, versions: Sequence[ImageVersion]) -> int:
        """Verify these too; how many were not on the list yet."""
        new = []
        for version in versions:
            known = self.checks.get(version.id)
            if known is None or not known.is_open:
                new.append(version.id)
                self.checks[version.id] = Check(f"{version.image_name}@{version.number}", Found.WAITS)
        self._queue += new
        self._told()
        if new and self._worker is None:
            self._worker = self._console.run_worker(self._work(), group="verify", exclusive=False)
        return len(new)

    def stop(self) -> None:
        """End what is being read, and forget what waits."""
        self._queue.clear()
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None
        for id, check in self.checks.items():
            if check.is_open:
                self.checks[id] = Check(check.name, Found.STOPPED)
        self._told()

    async def _work(self) -> None:
        while self._queue:
            id = self._queue.pop(0)
            name = self.checks[id].name
            self._put(id, Check(name, Found.READS))
            check = await self._read(id, name)
            self._put(id, check)
            role = "alarm" if check.found in (Found.DAMAGED, Found.UNKNOWN) else "notice"
            self._console.say(f"{name}: {check.long()}", role)
        self._worker = None

    async def _read(self, id: str, name: str) -> Check:
        def counted(line: str) -> None:
            done, _space, total = line.partition(" ")
            if done.isdecimal() and total.isdecimal():
                self._put(id, Check(name, Found.READS, int(done), int(total)))

        arguments = ("image", "verify", name, "--json", "--progress")
        try:
            ended = await child.run(self._console, *arguments, told=counted, timeout_s=_LONGEST_S)
            found: dict[str, Any] = ended.json()[0]
        except ApplianceError as error:
            return Check(name, Found.UNKNOWN, at=self._console.clock(), problems=(error.message,))
        chunks, problems = int(found["chunks"]), tuple(map(str, found["problems"]))
        how = Found.SOUND if found["ok"] else Found.DAMAGED
        return Check(name, how, chunks, chunks, self._console.clock(), problems)

    def _put(self, id: str, check: Check) -> None:
        self.checks[id] = check
        self._told()

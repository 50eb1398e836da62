"""The screens and guided jobs that there are. What is not in a table has no key anywhere.

Classes are loaded when they are first shown: the console starts in the time of one screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from appliance.tui.i18n import N_

HOST, IMAGE, TASK, CAST = "host", "image", "task", "cast"


@dataclass(frozen=True, slots=True)
class Entry:
    """A screen. `title` is a message id; `kinds` are the things that its `go_to` can show by their key."""

    name: str
    key: str
    title: str
    path: str  # module:class
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A guided job: a screen that is put over the one shown. Most have a key of the same name in `keys.GLOBAL`."""

    name: str
    path: str


_HERE = "appliance.tui.screens"

SCREENS: tuple[Entry, ...] = (
    Entry("overview", "1", N_("Overview"), f"{_HERE}.overview:OverviewScreen"),
    Entry("hosts", "2", N_("Hosts"), f"{_HERE}.hosts:HostsScreen", (HOST,)),
    Entry("images", "3", N_("Images"), f"{_HERE}.images:ImagesScreen", (IMAGE,)),
    Entry("tasks", "4", N_("Tasks"), f"{_HERE}.tasks:TasksScreen", (TASK,)),
    Entry("casts", "5", N_("Casts"), f"{_HERE}.casts:CastsScreen", (CAST,)),
    Entry("network", "6", N_("Net"), f"{_HERE}.network:NetworkScreen"),
    Entry("system", "7", N_("System"), f"{_HERE}.system:SystemScreen"),
)
_JOBS = "appliance.tui.jobs"

JOBS: tuple[Job, ...] = (
    Job("capture", f"{_JOBS}.capture:CaptureJob"),
    Job("deploy", f"{_JOBS}.deploy:DeployJob"),
    Job("new_pcs", f"{_JOBS}.new_pcs:NewPcsJob"),
    Job("setup", f"{_JOBS}.wizard:SetupJob"),
)


def load(path: str) -> type[Any]:
    """The class that `module:class` names."""
    module, _colon, name = path.partition(":")
    found: type[Any] = getattr(import_module(module), name)
    return found

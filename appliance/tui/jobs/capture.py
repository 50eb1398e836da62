"""Capture a master: which PC, is it ready, into which image, and then every step of it as it happens."""

from __future__ import annotations

from typing import Any, ClassVar

from appliance.tui.jobs.capture_job import Capturing
from appliance.tui.jobs.capture_pages import GoPage, ImagePage, PcPage, ReadyPage, StartPage
from appliance.tui.jobs.capture_watch import WatchPage
from appliance.tui.jobs.steps import Page


class CaptureJob(Capturing):
    """See `Capturing`."""

    PAGES: ClassVar[tuple[type[Page[Any]], ...]] = (PcPage, ReadyPage, ImagePage, StartPage, GoPage, WatchPage)

"""Deploy to a room: which image onto which PCs, how and when, what is lost, and then how it goes with all of them."""

from __future__ import annotations

from typing import Any, ClassVar

from appliance.tui.jobs.deploy_job import Deploying
from appliance.tui.jobs.deploy_pages import How, Lost, When, WhichImage, WhichPcs
from appliance.tui.jobs.deploy_watch import Watch
from appliance.tui.jobs.steps import Page


class DeployJob(Deploying):
    """See `Deploying`."""

    PAGES: ClassVar[tuple[type[Page[Any]], ...]] = (WhichImage, WhichPcs, How, When, Lost, Watch)

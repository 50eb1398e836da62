"""The first start of an empty box: from the language to a test of every service."""

from __future__ import annotations

from typing import Any, ClassVar

from appliance.tui.jobs.steps import Page
from appliance.tui.jobs.wizard_address import AddressPage
from appliance.tui.jobs.wizard_job import WizardJob
from appliance.tui.jobs.wizard_network import InterfacePage, LanguagePage, ModePage, RangePage
from appliance.tui.jobs.wizard_rest import DiskPage, OperatorPage, TestPage


class SetupJob(WizardJob):
    """See `wizard_job`."""

    PAGES: ClassVar[tuple[type[Page[Any]], ...]] = (
        LanguagePage,
        InterfacePage,
        AddressPage,
        ModePage,
        RangePage,
        DiskPage,
        OperatorPage,
        TestPage,
    )

"""The box over HTTP, and a PC that calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services.http_support import CallingPc, Site, boot_files, pc_at, running, settings_in


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    settings = settings_in(tmp_path)
    boot_files(settings)
    async with running(settings) as found:
        yield found


@pytest.fixture
async def pc(site: Site) -> AsyncIterator[CallingPc]:
    async with pc_at(site) as found:
        yield found

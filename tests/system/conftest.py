"""A machine with systemd, and one without."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.system import units
from tests.fakes.systemd import FakeSystemd


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    return FakeSystemd.install(tmp_path / "systemd", monkeypatch)


@pytest.fixture
def no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_BOOTED", tmp_path / "nowhere")

"""A box of its own for each test of the console."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.store import Store
from appliance.tui import i18n, theme
from tests.tui.kit import furnish

# Modules that start the real program, or the whole application behind a plain test function.
_WHOLE_PROGRAM = {"test_program.py", "test_terminal.py", "test_screenshots.py"}


@pytest.hookimpl(tryfirst=True)  # before the selection by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs the whole application `screen`: `make check` leaves it to `make test`."""
    for item in items:
        if item.path.parent != Path(__file__).parent or not isinstance(item, pytest.Function):
            continue
        whole = inspect.iscoroutinefunction(item.function) or "snap_compare" in item.fixturenames
        if whole or item.path.name in _WHOLE_PROGRAM:
            item.add_marker("screen")


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """UTC, sixteen colours, English: what is drawn must not depend on who runs the tests."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TERM", "linux")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
    i18n.use("en")
    theme.use(theme.NORMAL)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    """A store with nothing in it."""
    with Store.open(tmp_path / "diecast.sqlite") as opened:
        yield opened


@pytest.fixture
def store(empty: Store) -> Store:
    """A store in the middle of a day (`kit.furnish`)."""
    furnish(empty)
    return empty

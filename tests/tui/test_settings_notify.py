"""Notices on the settings screen: secrets are kept and never shown, and a test goes out by a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.store import Store
from tests.fakes.command_line import FakeCommandLine
from tests.tui.kit import LARGE
from tests.tui.test_settings import audit, row_of, setting

NAME = "notify.mail_password"
TAKEN = {"way": "mail", "where": "ops@lab.example by smtp", "error": "", "remedy": ""}
REFUSED = {
    "way": "webhook",
    "where": "hook",
    "error": "The webhook at hook does not answer within 8 s.",
    "remedy": "Is it running?",
}


@pytest.fixture
def cli(tmp_path: Path) -> FakeCommandLine:
    return FakeCommandLine.install(tmp_path / "cli")


async def test_a_secret_is_kept_and_shown_nowhere(store: Store) -> None:
    async with setting(store, NAME, "e", *"geheim", size=LARGE) as seat:
        assert "geheim" not in seat.text()
        await seat.press("enter")
        assert store.notices.secret(NAME) == "geheim"
        assert row_of(seat, NAME).value == "(set)"
        assert "geheim" not in seat.text()
        await seat.press("e")
        assert "(set)" not in seat.line_with("Value"), "the field is empty, not what the list shows"
    assert audit(store) == [("setting set", NAME)]


async def test_an_empty_secret_is_no_secret(store: Store) -> None:
    store.notices.set_secret(NAME, "geheim")
    async with setting(store, NAME, "e", "enter") as seat:
        assert "To forget it" in " ".join(seat.text().split())
    assert store.notices.secret(NAME) == "geheim"


async def test_a_secret_is_forgotten(store: Store) -> None:
    store.notices.set_secret(NAME, "geheim")
    async with setting(store, NAME, "x", "enter"):
        assert not store.notices.has_secret(NAME)
        assert store.notices.secret(NAME) == ""
    assert audit(store) == [("setting unset", NAME)]


async def test_a_test_goes_out_and_what_came_of_it_is_said(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("notify test", [TAKEN])
    async with setting(store, NAME, "t", command=cli.command, size=LARGE) as seat:
        await seat.settle()
        assert "The test notice was taken: ops@lab.example by smtp." in " ".join(seat.text().split())
    assert cli.calls("notify") == ["notify test --json"]


async def test_what_is_wrong_is_said_with_its_remedy(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("notify test", [TAKEN, REFUSED], status=69)
    async with setting(store, NAME, "t", command=cli.command, size=LARGE) as seat:
        await seat.settle()
        assert "The webhook at hook does not answer within 8 s. Is it running?" in " ".join(seat.text().split())

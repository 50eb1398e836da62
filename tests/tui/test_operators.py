"""Operators on the system screen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import argon2
import pytest

from appliance.events import Role
from appliance.store import Store
from appliance.tui.app import ConsoleApp
from appliance.tui.screens.lock import LockScreen
from appliance.tui.screens.system import SystemScreen
from tests.tui.kit import Seat, console

PASSWORD = "correct horse"
WORD = ["space" if char == " " else char for char in PASSWORD]


@pytest.fixture
def staffed(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """marie is admin, luc operator; hashing is cheap."""
    _cheap(store)
    store.operators.add("marie", Role.ADMIN, PASSWORD)
    store.operators.add("luc", Role.OPERATOR, PASSWORD)
    return store


def _cheap(store: Store) -> None:
    store.operators.hasher = argon2.PasswordHasher.from_parameters(argon2.profiles.CHEAPEST)


@asynccontextmanager
async def operators(store: Store, *keys: str, who: str = "marie", **options: Any) -> AsyncIterator[Seat]:
    """The list, after somebody has signed in (if there is anybody) and pressed some keys."""
    async with console(store, **options) as seat:
        _cheap(seat.app.model.store)
        if store.operators.any():
            await seat.press(*who, "down", *WORD, "enter")
        await seat.press("7", *["tab"] * 4, *keys)
        yield seat


def app_of(seat: Seat) -> ConsoleApp:
    return seat.app


def audit(store: Store) -> list[tuple[str, str, str]]:
    return [(event.actor, event.action, event.detail) for event in store.audit.list()]


async def test_operators_are_told_with_role_and_last_login(staffed: Store) -> None:
    async with operators(staffed) as seat:
        assert "operator" in seat.line_with("luc ")
        assert "never" in seat.line_with("luc ")
        await seat.press("down")
        assert "Also changes settings, services and operators." in seat.text()


async def test_an_operator_is_added(staffed: Store) -> None:
    async with operators(staffed, "a") as seat:
        await seat.press(*"anna", "down", "left", "down", *WORD, "down", *WORD, "enter")
        assert staffed.operators.get("anna").role is Role.VIEWER
        assert staffed.operators.check("anna", PASSWORD) is not None
        assert "Added anna." in seat.text()
        assert "viewer" in seat.line_with("anna ")
    assert audit(staffed)[0] == ("marie", "operator add", "anna, viewer")


async def test_two_passwords_that_differ_and_one_that_is_short_are_refused(staffed: Store) -> None:
    async with operators(staffed, "a") as seat:
        await seat.press(*"anna", "down", "down", *"short", "enter")
        assert "The two are not the same." in seat.text()
        await seat.press(*"short", "enter")
        assert "The password has 5 characters." in seat.text()
        assert len(staffed.operators.list()) == 2


async def test_the_first_operator_is_an_admin_and_locks_the_console(store: Store) -> None:
    async with operators(store, "a") as seat:
        assert "The first operator is an admin." in seat.text()
        await seat.press(*"marie", "down", "down", *WORD, "down", *WORD, "enter")
        assert store.operators.get("marie").role is Role.ADMIN


async def test_role_and_password_are_changed(staffed: Store) -> None:
    async with operators(staffed, "e") as seat:
        assert "Operator luc" in seat.text()
        await seat.press("left", "down", *"new ".replace(" ", "_"), *"password", "down", *"new_", *"password", "enter")
        assert staffed.operators.get("luc").role is Role.VIEWER
        assert staffed.operators.check("luc", "new_password") is not None
        assert "Changed luc." in seat.text()
    assert audit(staffed)[0] == ("marie", "operator edit", "luc: role viewer, password")


async def test_an_edit_that_changes_nothing_leaves_no_audit_line(staffed: Store) -> None:
    async with operators(staffed, "e", "enter") as seat:
        assert isinstance(seat.app.screen, SystemScreen)
    assert not any(action == "operator edit" for _actor, action, _detail in audit(staffed))


async def test_an_operator_is_removed_after_the_name_was_typed(staffed: Store) -> None:
    async with operators(staffed, "x") as seat:
        assert "Remove operator luc?" in seat.text()
        await seat.press("enter")
        assert len(staffed.operators.list()) == 2
        await seat.press(*"luc", "enter")
        assert [one.name for one in staffed.operators.list()] == ["marie"]
    assert audit(staffed)[0] == ("marie", "operator remove", "luc")


async def test_the_last_admin_can_neither_be_removed_nor_made_less(staffed: Store) -> None:
    async with operators(staffed, "down", "x") as seat:
        await seat.press(*"marie", "enter")
        assert "At least one operator must be an admin." in seat.text()
        await seat.press("e", "left", "enter")
        assert "At least one operator must be an admin." in seat.text()
    assert staffed.operators.get("marie").role is Role.ADMIN


@pytest.mark.parametrize("key", ["a", "e", "x"])
async def test_only_admins_change_operators(staffed: Store, key: str) -> None:
    async with operators(staffed, key, who="luc") as seat:
        assert "Only an admin may do that" in seat.text()
        assert isinstance(seat.app.screen, SystemScreen)


@pytest.mark.parametrize("key", ["e", "x"])
async def test_without_operators_there_is_nobody_to_change(store: Store, key: str) -> None:
    async with operators(store, key) as seat:
        assert "There is no operator at the cursor." in seat.text()
        assert "the console is open to everybody" in seat.text()
        assert not isinstance(seat.app.screen, LockScreen)

"""Operators in the store: their passwords, their roles, and that an admin is always left."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import Literal

import argon2
import pytest
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import Role
from appliance.model import Operator
from appliance.store import Store
from appliance.store.operators import MAX_PASSWORD, Operators
from appliance.store.rows import OperatorRow, dicts
from tests.store.conftest import NOON

GOOD = "correct horse"


@pytest.fixture
def operators(store: Store) -> Operators:
    """With a hash that costs nothing, and marie, an admin."""
    store.operators.hasher = argon2.PasswordHasher.from_parameters(CHEAPEST)
    store.operators.add("marie", Role.ADMIN, GOOD, now=NOON)
    return store.operators


def hashes(operators: Operators) -> list[str]:
    with operators._database.read() as sql:
        return [row["hash"] for row in dicts(OperatorRow.select(OperatorRow.hash), sql)]


def test_a_new_box_has_no_operator(store: Store) -> None:
    assert (store.operators.any(), store.operators.list()) == (False, [])


def test_an_operator_is_known_by_name_in_any_case_and_by_password(operators: Operators) -> None:
    assert operators.any()
    assert operators.get("MARIE") == Operator("marie", Role.ADMIN, "", NOON, None)
    later = NOON + timedelta(hours=1)
    assert operators.check("Marie", GOOD, now=later) == Operator("marie", Role.ADMIN, "", NOON, later)
    assert operators.get("marie").last_login == later


@pytest.mark.parametrize(
    ("name", "password"), [("marie", "Correct horse"), ("marie", ""), ("marie", GOOD + " "), ("paul", GOOD), ("", "")]
)
def test_a_wrong_name_or_password_lets_nobody_in(operators: Operators, name: str, password: str) -> None:
    assert operators.check(name, password) is None
    assert operators.get("marie").last_login is None


def test_a_password_is_the_same_however_its_accents_were_typed(operators: Operators) -> None:
    composed = unicodedata.normalize("NFC", "élève-déjà-vu")
    operators.set_password("marie", unicodedata.normalize("NFD", composed))
    assert operators.check("marie", composed) is not None


@pytest.mark.parametrize("password", ["", "1234567", "x" * (MAX_PASSWORD + 1)])
def test_a_password_too_short_or_too_long_is_refused_without_being_repeated(
    operators: Operators, password: str
) -> None:
    with pytest.raises(UsageError, match=f"The password has {len(password)} characters.") as refusal:
        operators.add("paul", Role.VIEWER, password)
    assert not password or password not in str(refusal.value)
    with pytest.raises(UsageError, match=f"The password has {len(password)} characters."):
        operators.set_password("marie", password)
    assert operators.check("marie", GOOD) is not None


def test_a_changed_password_replaces_the_old_one(operators: Operators) -> None:
    operators.set_password("marie", "another horse")
    assert operators.check("marie", GOOD) is None
    assert operators.check("marie", "another horse") is not None


def test_the_store_holds_argon2id_of_rfc_9106_and_no_password(store: Store) -> None:
    store.operators.add("marie", Role.ADMIN, GOOD)
    (stored,) = hashes(store.operators)
    assert argon2.extract_parameters(stored) == RFC_9106_LOW_MEMORY
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert store.operators.check("marie", GOOD) is not None


def test_a_name_that_nobody_has_costs_as_much_as_a_wrong_password(operators: Operators) -> None:
    seen: list[str] = []

    class Listening(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            seen.append(str(hash))
            return super().verify(hash, password)

    operators.hasher = Listening.from_parameters(CHEAPEST)
    operators.check("marie", "wrong password")
    operators.check("nobody", "wrong password")
    known, unknown = (argon2.extract_parameters(hash) for hash in seen)
    assert known == unknown


def test_a_hash_of_weaker_parameters_is_replaced_at_the_next_login(operators: Operators) -> None:
    (before,) = hashes(operators)
    operators.hasher = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    assert operators.check("marie", "wrong password") is None
    assert hashes(operators) == [before]
    assert operators.check("marie", GOOD) is not None
    (after,) = hashes(operators)
    assert argon2.extract_parameters(after).memory_cost == 16
    assert operators.check("marie", GOOD) is not None


def test_the_first_operator_is_an_admin(store: Store) -> None:
    with pytest.raises(Conflict, match="must be an admin"):
        store.operators.add("paul", Role.OPERATOR, GOOD)
    assert not store.operators.any()


def test_the_last_admin_stays(operators: Operators) -> None:
    operators.add("paul", Role.VIEWER, GOOD)
    for attempt in (lambda: operators.remove("marie"), lambda: operators.set_role("marie", Role.OPERATOR)):
        with pytest.raises(Conflict, match="must be an admin"):
            attempt()
    operators.set_role("paul", Role.ADMIN)
    assert operators.set_role("marie", Role.VIEWER).role is Role.VIEWER
    operators.remove("marie")
    assert [operator.name for operator in operators.list()] == ["paul"]
    with pytest.raises(Conflict, match="must be an admin"):
        operators.remove("paul")


def test_nobody_has_a_name_twice_and_nobody_is_missed_silently(operators: Operators) -> None:
    with pytest.raises(Conflict, match="operator 'marie' already"):
        operators.add("MARIE", Role.VIEWER, GOOD)
    with pytest.raises(UsageError, match="cannot name an operator"):
        operators.add("a b", Role.VIEWER, GOOD)
    for attempt in (
        lambda: operators.get("paul"),
        lambda: operators.remove("paul"),
        lambda: operators.set_password("paul", GOOD),
        lambda: operators.set_role("paul", Role.ADMIN),
    ):
        with pytest.raises(NotFound, match="no operator 'paul'"):
            attempt()


def test_an_operators_language_is_kept(operators: Operators) -> None:
    assert operators.set_language("marie", "fr").language == "fr"
    assert operators.set_language("marie", "").language == ""
    with pytest.raises(UsageError, match="no language"):
        operators.set_language("marie", "french")


def test_an_operator_removed_while_his_password_was_compared_is_not_let_in(
    operators: Operators, monkeypatch: pytest.MonkeyPatch
) -> None:
    operators.add("paul", Role.VIEWER, GOOD)
    real = argon2.PasswordHasher.verify

    def slow(self: argon2.PasswordHasher, hash: str | bytes, password: str | bytes) -> bool:
        operators.remove("paul")
        return bool(real(self, hash, password))

    monkeypatch.setattr(argon2.PasswordHasher, "verify", slow)
    assert operators.check("paul", GOOD) is None

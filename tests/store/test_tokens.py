"""Tokens of tasks and sessions: issued, revoked, kept as hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from appliance.model import Host, TokenInfo
from appliance.store import Store, tokens

MAC = "52:54:00:aa:01:01"


def test_a_token_stands_for_its_task_mac_and_address(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11")
    _, token = store.tasks.checked_in(task.id, "10.0.0.1", "52-54-00-AA-01-01")
    assert store.tasks.by_token(token) == TokenInfo(task.id, MAC, "10.0.0.1", host_name=pc1.name)
    assert len(token) >= 43


def test_the_next_check_in_of_the_task_revokes_it_and_no_others(store: Store, pc1: Host, pc2: Host) -> None:
    first, second = store.tasks.capture(pc1, "win11"), store.tasks.capture(pc2, "lab")
    _, old = store.tasks.checked_in(first.id, "10.0.0.1", MAC)
    _, other = store.tasks.checked_in(second.id, "10.0.0.2", pc2.macs[0])
    _, new = store.tasks.checked_in(first.id, "10.0.0.1", MAC)
    found = [store.tasks.by_token(token) for token in (old, new, other)]
    assert [info.revoked for info in found if info] == [True, False, False]
    assert old != new


@pytest.mark.parametrize("token", ["", "x", "\ud800", "a" * 10_000])
def test_a_token_never_issued_is_unknown(store: Store, token: str) -> None:
    assert store.tasks.by_token(token) is None


def test_a_pc_without_a_task_has_one_token_at_a_time(store: Store) -> None:
    old = store.tasks.session_token(MAC, "10.0.0.1")
    new = store.tasks.session_token(MAC, "10.0.0.1")
    elsewhere = store.tasks.session_token("52:54:00:aa:01:02", "10.0.0.2")
    found = [store.tasks.by_token(token) for token in (old, new, elsewhere)]
    assert [info.revoked for info in found if info] == [True, False, False]
    assert store.tasks.by_token(new) == TokenInfo(task_id=None, mac=MAC, ip="10.0.0.1")


def test_only_the_hash_is_in_the_file(store: Store, path: Path) -> None:
    token = store.tasks.session_token(MAC, "10.0.0.1")
    store.close()
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert hashlib.sha256(token.encode()).hexdigest().encode() in stored
    assert token.encode() not in stored


def test_invented_macs_do_not_fill_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_SESSIONS", 3)
    monkeypatch.setattr(tokens, "MAX_REVOKED", 2)
    issued = [store.tasks.session_token(f"52:54:00:00:00:{n:02x}", "10.0.0.1") for n in range(6)]
    assert [store.tasks.by_token(token) is not None for token in issued] == [False, False, True, True, True, True]

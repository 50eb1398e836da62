"""Lists read the store once, however long they are."""

from __future__ import annotations

from contextlib import AbstractContextManager
from ipaddress import IPv4Network
from typing import Any

import pytest

from appliance.model import ImageVersion
from appliance.store import Store
from appliance.store.database import Database
from tests.cli.conftest import Diecast

GROUPS = IPv4Network("239.192.77.0/24")


@pytest.mark.parametrize("words", ["host list", "room show B204", "task list", "cast list"])
def test_a_list_asks_the_store_as_often_for_many_rows_as_for_few(
    words: str, diecast: Diecast, store: Store, win11: ImageVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.rooms.add("B204")

    def add(number: int) -> None:
        host = store.hosts.add(f"PC{number}", [f"52:54:00:bb:00:{number:02x}"], room="B204")
        cast = store.casts.open(win11, groups=GROUPS)
        store.tasks.deploy(host, win11, cast_id=cast.id)

    reads: list[Database] = []
    read = Database.read

    def counted(self: Database) -> AbstractContextManager[Any]:
        reads.append(self)
        return read(self)

    def asked() -> int:
        with monkeypatch.context() as patch:
            patch.setattr(Database, "read", counted)
            reads.clear()
            said = diecast(*words.split())
        assert (said.status, "PC" in said.out or "win11" in said.out) == (0, True)
        return len(reads)

    add(1)
    few = asked()
    for number in range(2, 7):
        add(number)
    assert 0 < asked() == few

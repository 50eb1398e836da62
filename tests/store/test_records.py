"""Settings, the audit trail and other DHCP servers in the store."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

from appliance.store import Store
from appliance.store.statements import execute
from tests.store.conftest import NOON


def test_a_setting_has_a_default_and_an_empty_value_removes_it(store: Store) -> None:
    assert store.settings.get("nfs.ready.1", "no") == "no"
    store.settings.set("nfs.ready.1", "10.0.0.1")
    store.settings.set("nfs.ready.1", "10.0.0.2")
    store.settings.set("other", "x")
    assert store.settings.get("nfs.ready.1") == "10.0.0.2"
    assert store.settings.all("nfs.") == {"nfs.ready.1": "10.0.0.2"}
    store.settings.set("nfs.ready.1", "")
    assert store.settings.all() == {"other": "x"}
    store.settings.unset("other")
    store.settings.unset("other")
    assert store.settings.all() == {}


def test_values_are_found_by_the_beginning_of_their_keys_in_their_case(store: Store) -> None:
    for key in ("a.b", "a.c", "a.\N{GRINNING FACE}", "A.b", "a_b", "ab", "b"):
        store.settings.set(key, "1")
    assert list(store.settings.all("a.")) == ["a.b", "a.c", "a.\N{GRINNING FACE}"]
    assert list(store.settings.all("a_")) == ["a_b"]
    assert len(store.settings.all()) == 7


def test_values_are_kept_together_if_nothing_beside_them_has_changed(store: Store) -> None:
    store.settings.set("a.one", "1")
    seen = store.settings.all("a.")
    store.settings.set("b.else", "1")
    assert store.settings.set_if({"a.one": "", "a.two": "2"}, "a.", seen)
    assert not store.settings.set_if({"a.two": "3", "b.else": ""}, "a.", seen)
    assert store.settings.all() == {"a.two": "2", "b.else": "1"}
    store.settings.set_all({"a.two": "", "c": "3"})
    assert store.settings.all() == {"b.else": "1", "c": "3"}


def test_the_audit_trail_lists_the_newest_first(store: Store) -> None:
    store.audit.record("root", "deploy", "win11@1 to PC1", now=NOON)
    store.audit.record("root", "cancel")
    assert [event.action for event in store.audit.list()] == ["cancel", "deploy"]
    assert store.audit.list(limit=2)[1].at == NOON
    assert len(store.audit.list(limit=1)) == 1


def test_another_dhcp_server_is_one_entry_a_network_with_its_last_time(store: Store) -> None:
    store.servers.heard("10.0.0.1", "eth0", now=NOON)
    store.servers.heard("10.0.0.2", "eth0", "offers 10.0.0.9", now=NOON + timedelta(seconds=1))
    store.servers.heard("10.0.0.1", "eth0", "again", now=NOON + timedelta(seconds=2))
    assert [(server.ip, server.detail) for server in store.servers.list()] == [
        ("10.0.0.1", "again"),
        ("10.0.0.2", "offers 10.0.0.9"),
    ]


def test_the_data_version_changes_with_own_and_foreign_changes_and_with_nothing_else(store: Store, path: Path) -> None:
    versions = [store.data_version()]
    store.hosts.list()
    assert store.data_version() == versions[0]
    store.settings.set("a", "1")
    versions.append(store.data_version())
    with Store.open(path) as other:
        other.settings.set("a", "2")
    versions.append(store.data_version())
    thread = threading.Thread(target=store.settings.set, args=("a", "3"))
    thread.start()
    thread.join()
    versions.append(store.data_version())
    assert len(set(versions)) == 4
    assert store.data_version() == versions[-1]


def test_every_commit_is_on_the_disk_but_those_that_say_so(store: Store) -> None:
    def pragma(name: str) -> object:
        with store._database.read() as sql:
            return execute(sql, f"PRAGMA {name}").fetchone()[0]

    full, normal = 2, 1
    assert (pragma("journal_mode"), pragma("foreign_keys"), pragma("synchronous")) == ("wal", 1, full)
    with store._database.write(durable=False) as sql:
        assert execute(sql, "PRAGMA synchronous").fetchone()[0] == normal
    assert pragma("synchronous") == full

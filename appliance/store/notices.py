"""Notices that wait to be sent, and the secrets for sending them.

A notice is made of what happened since the last one in the same transaction that remembers how far that was: each event
is told once, wherever a process is killed. It waits once for each way that it is to go, and is forgotten when it has
gone that way.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import peewee

from appliance.errors import UsageError
from appliance.events import TaskState
from appliance.store import records
from appliance.store.database import Database
from appliance.store.lifecycle import COLUMNS
from appliance.store.records import put, value
from appliance.store.rows import TaskEventRow, TaskRow, dicts, first, utc_now

# Rows of the table of settings, apart from what operators set.
SECRET = "secret."  # the value itself: for who sends only
IS_SET = "secret-set."  # since when there is one: for everybody
NOTICE = "notice."
_SEEN = NOTICE + "seen"  # the last task event that was looked at
_STATES = NOTICE + "state."  # what was last told of a thing: `notice.state.disk images` -> `low`
_LAST = NOTICE + "last"  # number of the last notice
_WAITS = NOTICE + "waits."  # notice.waits.<way>.<number> -> JSON
_TROUBLE = NOTICE + "trouble."  # notice.trouble.<way> -> why nothing goes that way

MOST = 500  # that wait for one way; beyond it the oldest is dropped

# Secret settings, by the names that operators know.
SECRETS: dict[str, str] = {
    "notify.mail_password": "Password of notify.mail_user. Kept in the store only, and never shown.",
    "notify.webhook_token": "Sent to the webhook as 'Authorization: Bearer'. Kept in the store only, and never shown.",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """One notice on one of its ways."""

    number: int  # of the notice: the same on every way
    at: datetime
    events: tuple[dict[str, Any], ...]


class Notices:
    """Verbs on notices and secrets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- what is told

    def gather(
        self, ways: Iterable[str], things: Mapping[str, tuple[str, dict[str, Any]]], *, now: datetime | None = None
    ) -> int:
        """Make one notice of the tasks that have failed since the last call and of `things` that are otherwise.

        `things`: name -> (state, event); an empty state is as it should be, and is no news. Returns how many events are
        new. Without `ways` they count as told; so do tasks that failed before the first call of all.
        """
        moment = utc_now(now)
        with self._database.write(durable=False) as sql:
            newest, known = _newest_event(sql), value(sql, _SEEN)
            seen = int(known) if known else newest
            events = [_failure(row) for row in _failures(sql, seen)] if newest > seen else []
            if known != str(newest):
                put(sql, _SEEN, str(newest))
            for name, (state, event) in things.items():
                if state != value(sql, _STATES + name):
                    put(sql, _STATES + name, state)
                    events += [event] if state else []
            if events:
                self._add(sql, ways, moment, events)
        return len(events)

    def _add(
        self, sql: peewee.SqliteDatabase, ways: Iterable[str], moment: datetime, events: builtins.list[dict[str, Any]]
    ) -> None:
        number = int(value(sql, _LAST) or 0) + 1
        put(sql, _LAST, str(number))
        text = json.dumps({"at": moment.isoformat(), "events": events}, ensure_ascii=False)
        for way in ways:
            put(sql, f"{_WAITS}{way}.{number:09}", text)
            keys = list(records.values_under(sql, f"{_WAITS}{way}."))
            for key in keys[: max(0, len(keys) - MOST)]:
                put(sql, key, "")

    def state(self, name: str) -> str:
        """What was last told of a thing."""
        with self._database.read() as sql:
            return value(sql, _STATES + name)

    # -- what waits

    def waiting(self, way: str) -> builtins.list[Waiting]:
        """What waits to go one way, the oldest first."""
        prefix = f"{_WAITS}{way}."
        with self._database.read() as sql:
            rows = records.values_under(sql, prefix)
        found = []
        for key, text in rows.items():
            data = json.loads(text)
            number = int(key.removeprefix(prefix))
            found.append(Waiting(number, datetime.fromisoformat(data["at"]), tuple(data["events"])))
        return found

    def gone(self, way: str, number: int) -> None:
        """It needs to go that way no more."""
        with self._database.write() as sql:
            put(sql, f"{_WAITS}{way}.{number:09}", "")

    def trouble(self, way: str, words: str, remedy: str = "") -> None:
        """Why nothing goes that way, and what to do; empty when it does again."""
        text = f"{words}\n{remedy}" if words else ""
        with self._database.write(durable=False) as sql:
            if value(sql, _TROUBLE + way) != text:
                put(sql, _TROUBLE + way, text)

    def troubles(self) -> dict[str, tuple[str, str]]:
        """Way -> why nothing goes there, and what to do."""
        with self._database.read() as sql:
            found = records.values_under(sql, _TROUBLE)
        told = {key.removeprefix(_TROUBLE): text.partition("\n") for key, text in found.items()}
        return {way: (words, remedy) for way, (words, _break, remedy) in told.items()}

    # -- secrets

    def set_secret(self, name: str, value: str, *, now: datetime | None = None) -> None:
        """Keep a secret; an empty one is forgotten. Raises `UsageError` for a name or value that cannot be one."""
        if name not in SECRETS:
            raise UsageError(f"'{name}' is no secret setting.", hint=f"There are: {', '.join(SECRETS)}.")
        if not value.isprintable() or len(value) > 1000:
            raise UsageError(f"{name} must be one line of at most 1000 characters.")
        with self._database.write() as sql:
            put(sql, SECRET + name, value)
            put(sql, IS_SET + name, utc_now(now).isoformat() if value else "")

    def secret(self, name: str) -> str:
        """The secret itself, for who sends."""
        with self._database.read() as sql:
            return value(sql, SECRET + name)

    def has_secret(self, name: str) -> bool:
        """Whether there is one."""
        with self._database.read() as sql:
            return bool(value(sql, IS_SET + name))


def _newest_event(sql: peewee.SqliteDatabase) -> int:
    row = first(TaskEventRow.select(TaskEventRow.id).order_by(TaskEventRow.id.desc()).limit(1), sql)
    return 0 if row is None else int(row["id"])


def _failures(sql: peewee.SqliteDatabase, seen: int) -> list[dict[str, Any]]:
    """Tasks that have failed after the event `seen`: each does once. Ids of events follow the order of commits."""
    failed = (TaskEventRow.state == TaskState.FAILED) & (TaskEventRow.id > seen)
    which = TaskEventRow.select(TaskEventRow.task_id).where(failed)
    return list(dicts(TaskRow.select(*COLUMNS).where(TaskRow.id.in_(which)).order_by(TaskRow.id), sql))


def _failure(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "event": "task_failed",
        "task": row["id"],
        "kind": str(row["kind"]),
        "host": row["host_name"],
        "image": row["image_name"],
        "at": row["finished"].isoformat() if row["finished"] else "",
        "text": row["error"],
        "remedy": row["remedy"],
    }

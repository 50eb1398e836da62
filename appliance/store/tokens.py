"""Tokens of agents: random, issued at check-in, kept only as SHA-256, bound to task, MAC and IP.

Functions here run inside a transaction that the caller has open on `sql`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime

import peewee

from appliance.model import TokenInfo
from appliance.store.rows import TaskRow, TokenRow, first

_TOKEN_BYTES = 32
MAX_SESSIONS = 2000  # tokens of PCs without a task; check-ins with invented MACs must not fill the disk
MAX_REVOKED = 2000  # revoked ones are kept only to tell "replaced" from "unknown"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def issue(sql: peewee.SqliteDatabase, task_id: int | None, mac: str, ip: str, now: datetime) -> str:
    """Make a token and revoke what it replaces: the task's earlier ones, or the MAC's own without a task."""
    session = TokenRow.task_id.is_null() & (TokenRow.mac == mac)
    earlier = session if task_id is None else TokenRow.task_id == task_id
    TokenRow.update(revoked=True).where(earlier).execute(sql)
    _trim(sql)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    TokenRow.insert(hash=_hash(token), task_id=task_id, mac=mac, ip=ip, issued=now, revoked=False).execute(sql)
    return token


def look_up(sql: peewee.SqliteDatabase, token: str) -> TokenInfo | None:
    """What `token` stands for, revoked or not; None for one that was never issued."""
    digest = _hash(token)
    row = first(TokenRow.select().where(TokenRow.hash == digest), sql)
    # The index found it by the hash of a secret, which tells a guesser nothing; the comparison itself takes one time.
    if row is None or not hmac.compare_digest(row["hash"], digest):
        return None
    task = first(TaskRow.select(TaskRow.host_name).where(TaskRow.id == row["task_id"]), sql)
    host_name = task["host_name"] if task else ""
    return TokenInfo(row["task_id"], row["mac"], row["ip"], revoked=row["revoked"], host_name=host_name)


def _trim(sql: peewee.SqliteDatabase) -> None:
    sessions = TokenRow.task_id.is_null()
    revoked = TokenRow.revoked == True  # noqa: E712
    for which, limit in ((sessions, MAX_SESSIONS), (revoked, MAX_REVOKED)):
        surplus = TokenRow.select().where(which).count(sql) - limit
        if surplus > 0:
            oldest = TokenRow.select(TokenRow.hash).where(which).order_by(TokenRow.issued).limit(surplus)
            TokenRow.delete().where(TokenRow.hash.in_(oldest)).execute(sql)

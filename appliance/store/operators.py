"""Operators: who may use the console, and the check of their passwords.

Passwords are kept as Argon2id with the second recommended parameters of RFC 9106 section 4 (64 MiB, 3 passes, 4 lanes),
which a small box computes in a fraction of a second. They are compared as NFC, so that one typed with a dead key equals
one pasted (RFC 8265 section 4.2). Hashing is never done inside a transaction: nobody waits for it.
"""

from __future__ import annotations

import base64
import builtins
import re
import secrets
import unicodedata
from datetime import datetime
from typing import Any

import argon2
import peewee
from argon2.profiles import RFC_9106_LOW_MEMORY

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import Role
from appliance.model import Operator, check_name
from appliance.store.database import Database
from appliance.store.rows import OperatorRow, columns, dicts, first, utc_now

MIN_PASSWORD = 8  # characters (NIST SP 800-63B section 5.1.1.1)
MAX_PASSWORD = 256

_OPERATOR = columns(OperatorRow, Operator)
_LANGUAGE = re.compile(r"(?:[a-z]{2})?")
_WRONG = (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError)


class Operators:
    """Verbs on operators. As soon as there is one, one is an admin."""

    def __init__(self, database: Database, parameters: argon2.Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._database = database
        self.hasher = argon2.PasswordHasher.from_parameters(parameters)

    def any(self) -> bool:
        """Whether there is an operator at all."""
        with self._database.read() as sql:
            return first(OperatorRow.select(OperatorRow.name), sql) is not None

    def list(self) -> builtins.list[Operator]:
        """All operators by name."""
        with self._database.read() as sql:
            return [Operator(**row) for row in dicts(OperatorRow.select(*_OPERATOR).order_by(OperatorRow.name), sql)]

    def get(self, name: str) -> Operator:
        """The operator of that name, in any case. Raises `NotFound`."""
        with self._database.read() as sql:
            return _get(sql, name)

    def add(self, name: str, role: Role, password: str, *, now: datetime | None = None) -> Operator:
        """Add an operator; the first one must be an admin. Raises `Conflict`, `UsageError`."""
        check_name(name, "an operator")
        hashed = self.hasher.hash(_sound(password))
        with self._database.write() as sql:
            row = first(OperatorRow.select().where(OperatorRow.name == name), sql)
            if row is not None:
                raise Conflict(f"There is an operator '{row['name']}' already.", hint="Choose another name.")
            values = {"name": name, "role": Role(role), "hash": hashed, "language": "", "created": utc_now(now)}
            OperatorRow.insert(**values).execute(sql)
            _refuse_without_admin(sql)
            return _get(sql, name)

    def remove(self, name: str) -> None:
        """Forget an operator. Raises `NotFound`, and `Conflict` for the last admin."""
        with self._database.write() as sql:
            known = _get(sql, name)
            OperatorRow.delete().where(OperatorRow.name == known.name).execute(sql)
            _refuse_without_admin(sql)

    def set_role(self, name: str, role: Role) -> Operator:
        """Let an operator do more or less. Raises `NotFound`, and `Conflict` for the last admin."""
        return self._set(name, role=Role(role))

    def set_language(self, name: str, language: str) -> Operator:
        """Keep an operator's language, two letters; empty: the box's own. Raises `NotFound`, `UsageError`."""
        if not _LANGUAGE.fullmatch(language):
            raise UsageError(f"'{language}' is no language.", hint="Write two small letters, for example fr.")
        return self._set(name, language=language)

    def set_password(self, name: str, password: str) -> Operator:
        """Change an operator's password. Raises `NotFound`, `UsageError`."""
        return self._set(name, hash=self.hasher.hash(_sound(password)))

    def _set(self, name: str, **values: Any) -> Operator:
        with self._database.write() as sql:
            known = _get(sql, name)
            OperatorRow.update(**values).where(OperatorRow.name == known.name).execute(sql)
            _refuse_without_admin(sql)
            return _get(sql, name)

    def check(self, name: str, password: str, *, now: datetime | None = None) -> Operator | None:
        """Log an operator in: the operator, or None when name or password is wrong, which takes the same time."""
        with self._database.read() as sql:
            row = first(OperatorRow.select().where(OperatorRow.name == name), sql)
        stored = row["hash"] if row else self._nobodys()
        plain = unicodedata.normalize("NFC", password[:MAX_PASSWORD])
        try:
            self.hasher.verify(stored, plain)
        except _WRONG:
            return None
        if row is None:
            return None
        values: dict[str, Any] = {"last_login": utc_now(now)}
        if self.hasher.check_needs_rehash(stored):
            values["hash"] = self.hasher.hash(plain)
        with self._database.write() as sql:
            same = (OperatorRow.name == row["name"]) & (OperatorRow.hash == stored)  # nobody has changed it meanwhile
            return _get(sql, name) if OperatorRow.update(**values).where(same).execute(sql) else None

    def _nobodys(self) -> str:
        """A hash of today's parameters that no password has."""
        use = self.hasher
        salt, digest = (
            base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (use.salt_len, use.hash_len)
        )
        return f"$argon2id$v=19$m={use.memory_cost},t={use.time_cost},p={use.parallelism}${salt}${digest}"


def _sound(password: str) -> str:
    plain = unicodedata.normalize("NFC", password)
    if not MIN_PASSWORD <= len(plain) <= MAX_PASSWORD:
        raise UsageError(
            f"The password has {len(plain)} characters.", hint=f"Take one of {MIN_PASSWORD} to {MAX_PASSWORD}."
        )
    return plain


def _get(sql: peewee.SqliteDatabase, name: str) -> Operator:
    row = first(OperatorRow.select(*_OPERATOR).where(OperatorRow.name == name), sql)
    if row is None:
        raise NotFound(f"There is no operator '{name}'.", hint="See: diecast operator list")
    return Operator(**row)


def _refuse_without_admin(sql: peewee.SqliteDatabase) -> None:
    """Undo, by raising `Conflict`, a change that leaves no admin: a box with a locked console needs one."""
    if first(OperatorRow.select(OperatorRow.name).where(OperatorRow.role == Role.ADMIN), sql) is None:
        raise Conflict("At least one operator must be an admin.", hint="Make another one an admin first.")

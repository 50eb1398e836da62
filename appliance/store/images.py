"""Images and their versions. `commit` is the one point at which a captured version comes into being."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any

import peewee

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import TaskKind, TaskState
from appliance.model import Image, ImageVersion, Task, check_name
from appliance.store import hosts, lifecycle
from appliance.store.database import Database
from appliance.store.rows import (
    OPEN_ORDER,
    HostRow,
    ImageRow,
    OrderRow,
    TaskRow,
    VersionRow,
    columns,
    dicts,
    first,
    utc_now,
)

_IMAGE = columns(ImageRow, Image)
_OWN = ("created", "disk_bytes", "used_bytes", "stored_bytes", "new_bytes", "chunks", "master_name", "sealed", "notes")
_VERSION = [
    VersionRow.version_id.alias("id"),
    ImageRow.name.alias("image_name"),
    VersionRow.number,
    VersionRow.task_id,
    *(getattr(VersionRow, name) for name in _OWN),
]


class Images:
    """Verbs on images."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> list[Image]:
        """All images by name."""
        with self._database.read() as sql:
            images = [Image(**row) for row in dicts(ImageRow.select(*_IMAGE), sql)]
        return sorted(images, key=lambda image: hosts.natural(image.name))

    def get(self, name: str) -> Image:
        """The image of that name, in any case. Raises `NotFound`."""
        with self._database.read() as sql:
            return _get(sql, name)

    def versions(self, name: str | None = None) -> builtins.list[ImageVersion]:
        """All versions, or those of one image, newest first. Raises `NotFound` for an unknown name."""
        with self._database.read() as sql:
            query = _versions()
            if name is not None:
                query = query.where(VersionRow.image_id == _get(sql, name).id)
            order = query.order_by(VersionRow.created.desc(), VersionRow.row.desc())
            return [ImageVersion(**row) for row in dicts(order, sql)]

    def version(self, version_id: str) -> ImageVersion:
        """The version with that id. Raises `NotFound`."""
        with self._database.read() as sql:
            return version(sql, version_id)

    def resolve(self, text: str) -> ImageVersion:
        """`NAME` (its newest version) or `NAME@NUMBER`. Raises `NotFound` and `UsageError` in words."""
        name, at, number = text.partition("@")
        if at and not (number.isascii() and number.isdigit()):
            raise UsageError(f"'{text}' names no version.", hint="Write IMAGE or IMAGE@NUMBER, for example win11@3.")
        with self._database.read() as sql:
            image = _get(sql, name)
            query = _versions().where(VersionRow.image_id == image.id).order_by(VersionRow.number.desc())
            found = [ImageVersion(**row) for row in dicts(query, sql)]
        if not found:
            raise NotFound(
                f"Image {image.name} has no version.", hint=f"Capture one: diecast capture HOST --image {image.name}"
            )
        if not at:
            return found[0]
        for candidate in found:
            if candidate.number == int(number):
                return candidate
        there = ", ".join(str(candidate.number) for candidate in reversed(found))
        raise NotFound(f"Image {image.name} has no version {number}.", hint=f"It has: {there}.")

    def commit(self, task_id: int, version: ImageVersion, *, now: datetime | None = None) -> Task:
        """Make `version` exist and end its capture task, both or neither.

        The number given in `version` is ignored: the next one is taken. The host is no longer sealed, and its disk
        holds this version. Called again for the same task and id, or for content the image has already, it adds no
        second version. Raises `IllegalMove` unless the task is verifying, `Conflict` when it is no capture.
        """
        moment = utc_now(now)
        with self._database.write() as sql:
            task = lifecycle.get(sql, task_id)
            if task.kind is not TaskKind.CAPTURE:
                raise Conflict(f"Task {task_id} is a {task.kind}: it makes no version.")
            if task.state is TaskState.DONE and task.version_id == version.id:
                return task
            host = first(HostRow.select().where(HostRow.id == task.host_id), sql) or {}
            sealed = version.sealed or task.sealed or bool(host.get("sealed"))
            text = _insert(sql, task, version, moment, sealed=sealed)
            done = lifecycle.move(sql, task, TaskState.DONE, moment, text=text, version_id=version.id)
            values = {"sealed": False, "version_id": version.id}
            HostRow.update(**values).where(HostRow.id == task.host_id).execute(sql)
            return done

    def remove_version(self, version_id: str, *, image_name: str | None = None) -> None:
        """Forget a version; its chunks go with the next collection.

        `image_name` narrows it to one image where two hold the same content. Raises `NotFound`; `Conflict` while a
        task or a standing order needs it.
        """
        with self._database.write() as sql:
            rows = VersionRow.version_id == version_id
            if image_name is not None:
                rows &= VersionRow.image_id == _get(sql, image_name).id
            doomed = list(dicts(VersionRow.select().where(rows), sql))
            if not doomed:
                raise NotFound(f"There is no version {version_id[:12]}.", hint="See: diecast image list")
            if len(doomed) == VersionRow.select().where(VersionRow.version_id == version_id).count(sql):
                _refuse_if_used(sql, [version_id])
            VersionRow.delete().where(rows).execute(sql)

    def remove(self, name: str) -> None:
        """Forget an image with all its versions. Raises as `remove_version`, also while a task captures into it."""
        with self._database.write() as sql:
            image = _get(sql, name)
            capturing = (TaskRow.kind == TaskKind.CAPTURE) & TaskRow.state.in_(lifecycle.OPEN_STATES)
            row = first(TaskRow.select().where(capturing, TaskRow.image_name == image.name), sql)
            if row is not None:
                raise Conflict(
                    f"Task {row['id']} is capturing into image {image.name}.",
                    hint=f"Wait for it, or run: diecast task cancel {row['id']}",
                )
            mine = VersionRow.image_id == image.id
            ids = [row["version_id"] for row in dicts(VersionRow.select(VersionRow.version_id).where(mine), sql)]
            elsewhere = VersionRow.select(VersionRow.version_id).where(VersionRow.version_id.in_(ids), ~mine)
            shared = {row["version_id"] for row in dicts(elsewhere, sql)}
            _refuse_if_used(sql, [version_id for version_id in ids if version_id not in shared])
            ImageRow.delete().where(ImageRow.id == image.id).execute(sql)

    def live_version_ids(self) -> set[str]:
        """The ids of all versions that exist: what a collection must keep."""
        with self._database.read() as sql:
            return {row["version_id"] for row in dicts(VersionRow.select(VersionRow.version_id), sql)}


# -- inside a transaction ---------------------------------------------------------------------------------------------


def version(sql: peewee.SqliteDatabase, version_id: str) -> ImageVersion:
    """See `Images.version`."""
    row = first(_versions().where(VersionRow.version_id == version_id).order_by(VersionRow.row), sql)
    if row is None:
        raise NotFound(f"There is no version {version_id[:12]}.", hint="See: diecast image list")
    return ImageVersion(**row)


def canonical_name(sql: peewee.SqliteDatabase, name: str) -> str:
    """`name` as the image of that name spells it, or as given for a new image. Raises `UsageError`."""
    row = first(ImageRow.select().where(ImageRow.name == check_name(name, "an image")), sql)
    return name if row is None else str(row["name"])


def _versions() -> Any:
    return VersionRow.select(*_VERSION).join(ImageRow, on=(VersionRow.image_id == ImageRow.id))


def _get(sql: peewee.SqliteDatabase, name: str) -> Image:
    row = first(ImageRow.select(*_IMAGE).where(ImageRow.name == name), sql)
    if row is None:
        raise NotFound(f"There is no image '{name}'.", hint="See: diecast image list")
    return Image(**row)


def _insert(sql: peewee.SqliteDatabase, task: Task, version: ImageVersion, now: datetime, *, sealed: bool) -> str:
    """Add the version under the next number, unless the image has it; return what happened, in words."""
    ImageRow.insert(name=task.image_name, created=now).on_conflict_ignore().execute(sql)
    image = first(ImageRow.select().where(ImageRow.name == task.image_name), sql)
    assert image is not None
    same = (VersionRow.image_id == image["id"]) & (VersionRow.version_id == version.id)
    known = first(VersionRow.select().where(same), sql)
    if known is not None:
        return f"the content equals {image['name']}@{known['number']}: no new version"
    number = image["last_number"] + 1
    values = {name: getattr(version, name) for name in _OWN}
    values |= {"sealed": sealed, "master_name": version.master_name or task.host_name}
    VersionRow.insert(image_id=image["id"], version_id=version.id, number=number, task_id=task.id, **values).execute(
        sql
    )
    ImageRow.update(last_number=number).where(ImageRow.id == image["id"]).execute(sql)
    return f"committed as {image['name']}@{number}"


def _refuse_if_used(sql: peewee.SqliteDatabase, version_ids: list[str]) -> None:
    deploying = (TaskRow.kind == TaskKind.DEPLOY) & TaskRow.state.in_(lifecycle.OPEN_STATES)
    task = first(TaskRow.select().where(deploying, TaskRow.version_id.in_(version_ids)), sql)
    if task is not None:
        raise Conflict(
            f"Task {task['id']} is deploying it to {task['host_name']}.",
            hint=f"Wait for it, or run: diecast task cancel {task['id']}",
        )
    order = first(OrderRow.select().where(OPEN_ORDER, OrderRow.version_id.in_(version_ids)), sql)
    if order is not None:
        left = order["wanted"] - order["taken"]
        raise Conflict(
            f"Order {order['id']} still waits to deploy it to {left} new PCs.",
            hint=f"Cancel it first: diecast task cancel --order {order['id']}",
        )

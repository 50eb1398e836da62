"""The store: the only thing that Diecast's processes share, and the only part that knows SQL.

SQLite in WAL mode through Peewee. Every verb is one transaction, takes and returns dataclasses of `appliance.model`,
may be called from any thread, and leaves a consistent store wherever its process is killed.

`Store.open(path)` gives verbs by subject: `hosts`, `rooms`, `images`, `tasks`, `casts`, `leases`, `settings`, `audit`,
`servers`, `services`, `operators`, `notices`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.store import copying
from appliance.store.casts import Casts
from appliance.store.copying import Copy
from appliance.store.database import Database
from appliance.store.hosts import Hosts
from appliance.store.images import Images
from appliance.store.leases import Leases
from appliance.store.lifecycle import IllegalMove
from appliance.store.notices import Notices
from appliance.store.operators import Operators
from appliance.store.pictures import Pictures
from appliance.store.records import Audit, Servers, SettingValues
from appliance.store.rooms import Rooms
from appliance.store.services import Services
from appliance.store.tasks import Tasks

__all__ = ["Copy", "IllegalMove", "Store"]


class Store:
    """An open store. Close it, or use it in a `with` statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.hosts = Hosts(database)
        self.rooms = Rooms(database)
        self.images = Images(database)
        self.tasks = Tasks(database)
        self.casts = Casts(database)
        self.leases = Leases(database)
        self.settings = SettingValues(database)
        self.audit = Audit(database)
        self.servers = Servers(database)
        self.services = Services(database)
        self.operators = Operators(database)
        self.notices = Notices(database)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the store at `path`; make folder and file where there are none; bring an older schema up to date.

        Raises `Unavailable` when it cannot be opened, is no store, or was written by a newer Diecast.
        """
        return cls(Database.open(path))

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._database.path

    def copy_to(self, path: Path) -> Copy:
        """Copy the store, as it is at one moment while others write, to the new file `path`; the copy is checked.

        Raises `NoSpace`, `Unavailable` or `BadData`.
        """
        return copying.copy(self.path, path)

    def pictures(self) -> Pictures:
        """Looks at all of the store, for a console that shows it live."""
        return Pictures(self._database)

    def data_version(self) -> int:
        """A number that differs from the last one after any process, this one included, has changed anything."""
        return self._database.data_version()

    def problems(self) -> list[str]:
        """What SQLite's quick check finds wrong inside the file, five things at most; nothing when it is whole."""
        return self._database.problems()

    def close(self) -> None:
        """Close every thread's connection. Verbs raise `Unavailable` from then on."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

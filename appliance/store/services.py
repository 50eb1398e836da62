"""How our services are: each says so when it changes and every few seconds; who says nothing for long is silent."""

from __future__ import annotations

import builtins
import dataclasses
from datetime import datetime, timedelta

from appliance.events import ServiceHealth
from appliance.model import ServiceState
from appliance.store.database import Database
from appliance.store.rows import ServiceRow, columns, dicts, first, utc_now

SILENT_AFTER = timedelta(seconds=15)  # three beats

_LEAVING = (ServiceHealth.STOPPING, ServiceHealth.STOPPED, ServiceHealth.FAILED)
_SAYS_NO_MORE = (ServiceHealth.STOPPED, ServiceHealth.FAILED)


class Services:
    """Verbs on the health of services."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(
        self,
        name: str,
        health: ServiceHealth,
        words: str = "",
        *,
        pid: int,
        started: datetime,
        durable: bool = False,
        now: datetime | None = None,
    ) -> None:
        """Service `name` is so, in process `pid` that began at `started`.

        The last words of a process do not count when its successor has begun already.
        """
        moment = utc_now(now)
        with self._database.write(durable=durable) as sql:
            old = first(ServiceRow.select().where(ServiceRow.name == name), sql)
            if old and health in _LEAVING and old["pid"] != pid and old["started"] > started:
                return
            same = old is not None and (old["state"], old["pid"]) == (health, pid)
            since = old["since"] if old and same else moment
            values = {"state": health, "pid": pid, "since": since, "beat": moment, "words": words, "started": started}
            ServiceRow.insert(name=name, **values).on_conflict_replace().execute(sql)

    def list(self, *, now: datetime | None = None) -> builtins.list[ServiceState]:
        """Every service that ever ran, by name. One that should be running and has not beaten lately is SILENT."""
        moment = utc_now(now)
        query = ServiceRow.select(*columns(ServiceRow, ServiceState)).order_by(ServiceRow.name)
        with self._database.read() as sql:
            states = [ServiceState(**row) for row in dicts(query, sql)]
        return [heard(state, moment) for state in states]


def heard(state: ServiceState, now: datetime) -> ServiceState:
    """`state` as it is `now`: silent when it should be running and has not beaten lately."""
    if state.state in _SAYS_NO_MORE or now - state.beat <= SILENT_AFTER:
        return state
    return dataclasses.replace(state, state=ServiceHealth.SILENT, since=state.beat)

"""Whether the box sends IGMP general queries: only while nobody else on the network does. Pure; `now` in seconds.

A switch that snoops forwards a group only to ports that reported it lately, and PCs report only when asked. Without a
querier the switch forgets the group in mid-cast (RFC 4541 section 2.1.1). Timers: RFC 3376 section 8. Unlike in
6.6.2 there, we give way to any other querier, whatever its address: we are no router, and one querier is enough.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from appliance.wire.igmp import NO_GROUP, Query

QUERY_S = 125.0
STARTUP_QUERY_S = QUERY_S / 4
STARTUP_QUERIES = 2
OTHER_PRESENT_S = 2 * QUERY_S + 10.0 / 2
LISTEN_S = 3.0  # before the first query of ours


class Querier:
    """The state of our querier on one interface. Active only while a cast is open."""

    def __init__(self, own: IPv4Address, now: float) -> None:
        self.own = own
        self.other: IPv4Address | None = None  # the querier that was heard last
        self._other_at = float("-inf")
        self._next = now + LISTEN_S
        self._sent = 0

    def heard(self, query: Query, source: IPv4Address, now: float) -> None:
        """A query came from `source`. Ours, and those about one group, do not count."""
        if source != self.own and query.group == NO_GROUP:
            self.other, self._other_at = source, now

    def other_present(self, now: float) -> bool:
        """Whether somebody else queries."""
        return now - self._other_at < OTHER_PRESENT_S

    def due(self, now: float) -> Query | None:
        """The general query to send now, if one is. Version 2: a version 3 query is one that old switches drop."""
        if now < self._next:
            return None
        if self.other_present(now):
            self._next, self._sent = self._other_at + OTHER_PRESENT_S, 0
            return None
        self._sent += 1
        self._next = now + (STARTUP_QUERY_S if self._sent < STARTUP_QUERIES else QUERY_S)
        return Query(2)

    def next_at(self) -> float:
        """When to ask `due` again."""
        return self._next

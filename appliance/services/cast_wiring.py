"""The sockets of all casts: they follow the addresses of the chosen interfaces, which come, change and go.

References: netdevice(7). An address that is gone takes its sockets with it; one that comes gets sockets of its own, so
that a link that comes up late, or a new lease, needs no restart of the service.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Iterable
from itertools import count

from appliance.config import Cast
from appliance.errors import Unavailable
from appliance.services.cast_sockets import Card, IgmpPort, Outlet, igmp_ports

log = logging.getLogger(__name__)


class Wiring:
    """Belongs to the sending thread; others may only read `cards`."""

    def __init__(self, settings: Cast, cards: Iterable[Card]) -> None:
        """Raises `Unavailable` when a port is taken."""
        self.cards: frozenset[Card] = frozenset()  # those that have sockets
        self.outlets: dict[int, Outlet] = {}  # by numbers that are never used twice
        self.igmp: list[IgmpPort] = []
        self.poll = select.poll()
        self._settings = settings
        self._numbers = count()
        self._complaints: set[str] = set()
        self._without_igmp: set[Card] = set()
        try:
            for card in _in_order(cards):
                self._open(card)
        except BaseException:
            self.close()
            raise
        self._settle()

    def follow(self, cards: frozenset[Card]) -> None:
        """These are the addresses now. What cannot be opened is named in the log; to be tried again."""
        for number, outlet in list(self.outlets.items()):
            if outlet.card not in cards:
                del self.outlets[number]
                self.poll.unregister(outlet.feedback)
                outlet.close()
                log.warning("%s has lost the address %s: no cast goes out of it", outlet.card.name, outlet.card.address)
        complaints = set()
        for card in _in_order(cards - {outlet.card for outlet in self.outlets.values()}):
            try:
                self._open(card)
            except Unavailable as error:
                complaints.add(str(error))
        for complaint in sorted(complaints - self._complaints):
            log.error("%s", complaint)
        self._complaints = complaints
        self._settle()

    def outlet_of(self, fd: int) -> int | None:
        """The number of the outlet whose feedback socket that is."""
        return next((number for number, outlet in self.outlets.items() if outlet.feedback.fileno() == fd), None)

    def igmp_of(self, fd: int) -> IgmpPort | None:
        """The querier whose socket that is."""
        return next((port for port in self.igmp if port.socket.fileno() == fd), None)

    def close(self) -> None:
        """Close every socket."""
        for outlet in self.outlets.values():
            outlet.close()
        for port in self.igmp:
            port.close()
        self.outlets, self.igmp = {}, []

    def _open(self, card: Card) -> None:
        outlet = Outlet(card, self._settings)
        self.outlets[next(self._numbers)] = outlet
        self.poll.register(outlet.feedback, select.POLLIN)
        log.info("casts go out of %s with the address %s", card.name, card.address)

    def _settle(self) -> None:
        """A querier for the first address of each interface; one that has it already is kept, with what it heard."""
        cards = [outlet.card for outlet in self.outlets.values()]
        wanted = list({card.index: card for card in reversed(_in_order(cards))}.values())
        for port in [port for port in self.igmp if port.card not in wanted]:
            self.igmp.remove(port)
            self.poll.unregister(port.socket)
            port.close()
        asking = {port.card for port in self.igmp} | self._without_igmp
        new = [card for card in wanted if card not in asking]
        ports = igmp_ports(new)
        self._without_igmp |= set() if ports else set(new)  # it has been said, and is not tried again
        for port in ports:
            self.igmp.append(port)
            self.poll.register(port.socket, select.POLLIN)
        self.cards = frozenset(cards)


def _in_order(cards: Iterable[Card]) -> list[Card]:
    return sorted(cards, key=lambda card: (card.index, card.address))

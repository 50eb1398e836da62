"""The lease pool under random use: an address is never lent twice, and nothing is lost."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.config import Subnet
from appliance.model import Lease, Reservation
from appliance.services.dhcp_leases import Client, LeasePool, RangeExhausted, client_key
from tests.fakes.dhcp import MAC, Clock

SMALL = Subnet(IPv4Network("10.0.0.0/29"), IPv4Address("10.0.0.0"), IPv4Address("10.0.0.7"), IPv4Address("10.0.0.1"))
CLIENTS = st.integers(0, 9).map(lambda n: Client(f"mac:02:00:00:00:00:0{n}", f"02:00:00:00:00:0{n}"))
ADDRESSES = st.integers(0, 7).map(lambda n: IPv4Address(0x0A000000 + n))


@pytest.mark.parametrize(
    ("client_id", "by_mac", "key"),
    [
        (b"", False, f"mac:{MAC}"),
        (bytes.fromhex("01525400aa0102"), False, f"mac:{MAC}"),
        (bytes.fromhex("01525400aa0103"), False, "cid:01525400aa0103"),
        (b"\xff\x01", False, "cid:ff01"),
        (b"\xff\x01", True, f"mac:{MAC}"),
    ],
)
def test_a_client_is_known_by_its_mac_unless_its_id_says_more(client_id: bytes, by_mac: bool, key: str) -> None:
    assert client_key(MAC, client_id, by_mac=by_mac) == key


def test_network_broadcast_and_router_addresses_are_never_lent() -> None:
    pool = LeasePool([SMALL], lease_s=60, offer_s=10, decline_s=60, clock=Clock())
    given = []
    for number in range(5):
        client = Client(f"mac:{number}", str(number))
        address = pool.candidate(SMALL, client).address
        pool.bind(SMALL, client, address)
        given.append(str(address))
    assert given == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    with pytest.raises(RangeExhausted):
        pool.candidate(SMALL, Client("mac:x", "x"))


def test_the_box_never_lends_its_own_address() -> None:
    own = IPv4Address("10.0.0.2")
    pool = LeasePool([SMALL], lease_s=60, offer_s=10, decline_s=60, clock=Clock(), own=[own])
    assert pool.candidate(SMALL, Client("mac:x", "x"), own).address == IPv4Address("10.0.0.3")


def test_leases_of_subnets_that_are_gone_are_passed_over() -> None:
    clock = Clock()
    old = LeasePool([SMALL], lease_s=60, offer_s=10, decline_s=60, clock=clock)
    lease, _ = old.bind(SMALL, Client("mac:x", "x"), IPv4Address("10.0.0.2"))
    other = Subnet(IPv4Network("10.1.0.0/24"), IPv4Address("10.1.0.1"), IPv4Address("10.1.0.9"))
    assert LeasePool([other], [lease], lease_s=60, offer_s=10, decline_s=60, clock=clock).entry(lease.address) is None


class PoolLife(RuleBasedStateMachine):
    """Ten clients, five addresses, restarts from what the store would have."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store: dict[IPv4Address, Lease] = {}
        self.reserved: list[Reservation] = []
        self.pool = self.opened()

    def opened(self) -> LeasePool:
        pool = LeasePool([SMALL], self.store.values(), lease_s=100, offer_s=10, decline_s=50, clock=self.clock)
        pool.set_reservations(self.reserved)
        return pool

    @rule(client=CLIENTS, requested=st.none() | ADDRESSES, accepts=st.booleans())
    def discover(self, client: Client, requested: IPv4Address | None, accepts: bool) -> None:
        try:
            address = self.pool.candidate(SMALL, client, requested).address
        except RangeExhausted:
            held = [lease for lease in self.store.values() if lease.expires.timestamp() > self.clock.now]
            assert len(held) + len(self.reserved) > 0
            return
        reserved = {item.address: item.mac for item in self.reserved}
        assert reserved.get(address, client.mac) == client.mac
        assert int(address) & 7 not in (0, 1, 7), "an address that no client can have was offered"
        other = self.store.get(address)
        if other is not None and other.expires.timestamp() > self.clock.now:
            assert other.client_key == client.key, "a live lease was offered to somebody else"
        self.pool.offer(SMALL, client, address)
        if accepts:
            lease, given_up = self.pool.bind(SMALL, client, address)
            for gone in given_up:
                assert self.store[gone].mac == client.mac
                del self.store[gone]
            self.store[address] = lease

    @rule(client=CLIENTS, address=ADDRESSES)
    def release(self, client: Client, address: IPv4Address) -> None:
        lease = self.pool.release(SMALL, client, address)
        if lease is not None:
            assert self.store[address].client_key == client.key
            self.store[address] = lease

    @rule(address=ADDRESSES)
    def conflict(self, address: IPv4Address) -> None:
        self.store[address] = self.pool.set_aside(SMALL, address)

    @rule(client=CLIENTS)
    def other_server(self, client: Client) -> None:
        self.pool.drop_offer(SMALL, client)

    @rule(seconds=st.sampled_from([1, 11, 60, 101, 1000]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(number=st.integers(0, 9), address=st.sampled_from([2, 3, 6]))
    def reserve(self, number: int, address: int) -> None:
        mine = Reservation(f"02:00:00:00:00:0{number}", IPv4Address(0x0A000000 + address))
        self.reserved = [item for item in self.reserved if item.address != mine.address and item.mac != mine.mac]
        self.reserved.append(mine)
        self.pool.set_reservations(self.reserved)

    @rule()
    def unreserve_all(self) -> None:
        self.reserved = []
        self.pool.set_reservations([])

    @rule()
    def restart(self) -> None:
        self.pool = self.opened()

    @rule(client=CLIENTS)
    def everything_is_free_in_the_end(self, client: Client) -> None:
        """After all times are over there is room for anybody: no address has leaked."""
        self.clock.now += 10_000
        self.discover_all_free(client)

    def discover_all_free(self, client: Client) -> None:
        free = {2, 3, 4, 5, 6} - {int(item.address) & 7 for item in self.reserved if item.mac != client.mac}
        if free:
            assert int(self.pool.candidate(SMALL, client).address) & 7 in free

    @invariant()
    def a_client_has_one_live_lease(self) -> None:
        live = [lease for lease in self.store.values() if lease.expires.timestamp() > self.clock.now]
        keys = [lease.client_key for lease in live if not lease.declined]
        assert len(keys) == len(set(keys))


TestPoolLife = PoolLife.TestCase
TestPoolLife.settings = settings(max_examples=60, stateful_step_count=30)

"""The full server, message by message, with a clock set by hand."""

import logging
from ipaddress import IPv4Address, IPv4Interface
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.events import LocalBoot, TaskKind, TaskState
from appliance.model import Host, Reservation, Task
from appliance.services.dhcp_server import Link
from appliance.wire.dhcp4 import BROADCAST_FLAG, Packet, Via
from appliance.wire.dhcp_options import MalformedOption, MessageType, Opt
from tests.fakes.dhcp import FAR_SUBNET, LINK, MAC, ME, NOBODY, OTHER, PXE, SUBNET, Lab, message

FIRST, SECOND, THIRD = (IPv4Address(f"10.0.0.{number}") for number in (10, 11, 12))
DUID = {61: bytes.fromhex("ff00000001000100012f")}
ACK, NAK, OFFER = MessageType.ACK, MessageType.NAK, MessageType.OFFER


def kinds(replies: list[Packet]) -> list[MessageType | None]:
    return [reply.message_type for reply in replies]


def test_a_client_is_offered_an_address_and_gets_it() -> None:
    lab = Lab()
    assert lab.lease() == FIRST
    stored = lab.effects.stored[FIRST]
    assert (stored.mac, stored.client_key) == (MAC, f"mac:{MAC}")
    assert stored.expires.timestamp() == lab.clock.now + 3600


def test_no_ack_leaves_before_the_lease_is_on_disk() -> None:
    lab = Lab()
    lab.discover()
    lab.effects.disk_is_slow = True
    assert lab.request(options={54: ME.packed, 50: FIRST.packed}) == []
    assert FIRST in lab.effects.stored
    lab.effects.go_on()
    assert lab.effects.sent[-1][0].message_type is ACK


def test_two_clients_get_two_addresses() -> None:
    lab = Lab()
    assert [lab.lease(MAC), lab.lease(OTHER)] == [FIRST, SECOND]


def test_the_address_asked_for_is_given_when_it_is_free() -> None:
    lab = Lab()
    assert lab.lease(options={50: THIRD.packed}) == THIRD
    assert lab.lease(OTHER, {50: THIRD.packed}) == FIRST


# The conflict probe


def test_a_fresh_address_is_probed_before_it_is_offered_and_a_held_one_is_not() -> None:
    lab = Lab()
    lab.lease()
    lab.lease()
    assert lab.effects.probed == [FIRST]


def test_an_address_that_somebody_uses_is_set_aside_and_the_next_one_is_offered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab = Lab()
    lab.effects.used[FIRST] = OTHER
    assert lab.lease() == SECOND
    assert lab.effects.stored[FIRST].declined
    assert f"{FIRST} is used by {OTHER}, who has no lease of it: it is not lent for a while." in caplog.text
    lab.clock.now += 601
    assert lab.lease("02:00:00:00:00:99") == THIRD  # never used before comes first
    lab.effects.used.clear()
    assert lab.lease("02:00:00:00:00:98") == FIRST


def test_a_client_that_repeats_itself_is_probed_once_and_its_last_message_is_answered() -> None:
    lab = Lab()
    lab.effects.probe_is_slow = True
    first = message(MessageType.DISCOVER)
    again = Packet(op=1, xid=100, chaddr=first.chaddr, options=first.options)
    assert lab.tell(first) == []
    assert lab.tell(again) == []
    lab.effects.go_on()
    assert [reply.xid for reply, _ in lab.effects.sent] == [100]
    assert lab.effects.probed == [FIRST]


def test_every_address_in_use_means_no_offer_and_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab()
    lab.effects.used = {FIRST: OTHER, SECOND: OTHER, THIRD: OTHER}
    assert lab.lease() is None
    assert "The range 10.0.0.10 to 10.0.0.12 is exhausted" in caplog.text


# The end of the range


def test_an_exhausted_range_is_said_once_a_minute_and_the_service_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab()
    for number in range(3):
        assert lab.lease(f"02:00:00:00:00:0{number}")
    for number in range(20):
        assert lab.lease(f"02:00:00:00:01:{number:02x}") is None
    sentence = "The range 10.0.0.10 to 10.0.0.12 is exhausted: 02:00:00:00:01:00 gets no address."
    assert sum("exhausted" in record.message for record in caplog.records) == 1
    assert sentence in caplog.text
    assert lab.lease("02:00:00:00:00:01") == SECOND


def test_the_address_that_expired_longest_ago_is_taken_first() -> None:
    lab = Lab()
    for number in range(3):
        lab.lease(f"02:00:00:00:00:0{number}")
        lab.clock.now += 10
    lab.request("02:00:00:00:00:00", ciaddr=FIRST)  # renewed: now the youngest
    lab.clock.now += 3601
    assert lab.lease("02:00:00:00:01:00") == SECOND


def test_a_client_that_comes_back_late_gets_its_address_again() -> None:
    lab = Lab()
    lab.lease(OTHER)
    assert lab.lease() == SECOND
    lab.clock.now += 10_000
    assert lab.lease() == SECOND


# One PC, one address


def test_a_pc_keeps_one_address_through_firmware_loader_agent_and_its_own_system() -> None:
    lab = Lab()
    firmware = lab.lease(options=PXE)
    ipxe = lab.lease(options={**PXE, 61: b"\x01" + bytes.fromhex(MAC.replace(":", "")), 77: b"iPXE"})
    agent = lab.lease(options={61: b"\x01" + bytes.fromhex(MAC.replace(":", ""))})
    system = lab.lease(options=DUID)
    assert {firmware, ipxe, agent, system} == {FIRST}
    assert lab.lease(options=PXE) == FIRST
    assert list(lab.effects.stored) == [FIRST]


def test_a_lease_that_the_system_had_first_is_taken_over_by_its_firmware() -> None:
    lab = Lab()
    assert lab.lease(options=DUID) == FIRST
    assert lab.lease(options=PXE) == FIRST


def test_strangers_with_ids_of_their_own_behind_one_mac_get_an_address_each() -> None:
    lab = Lab()
    assert lab.lease(options={61: b"\xff\x01"}) == FIRST
    assert lab.lease(options={61: b"\xff\x02"}) == SECOND
    assert lab.effects.stored[FIRST].client_key == "cid:ff01"


def test_a_known_host_is_known_by_its_mac_whatever_id_it_sends() -> None:
    lab = Lab()
    lab.books.hosts = [Host(1, "pc-01", (MAC,))]
    assert lab.lease(options={61: b"\xff\x01"}) == FIRST
    assert lab.lease(options={61: b"\xff\x02"}) == FIRST


def test_the_client_id_is_echoed() -> None:
    assert Lab().discover(options=DUID)[0].options[61] == DUID[61]


def test_a_known_host_is_told_its_name() -> None:
    lab = Lab()
    lab.books.hosts = [Host(1, "pc-01", (MAC,))]
    assert lab.discover(options={55: b"\x0c"})[0].options[Opt.HOST_NAME] == b"pc-01"
    assert Opt.HOST_NAME not in lab.discover(OTHER)[0].options


# Reservations


def test_a_reserved_address_goes_to_its_host_only_inside_the_range_or_outside() -> None:
    lab = Lab()
    outside = IPv4Address("10.0.0.200")
    lab.books.reserved = [Reservation(MAC, FIRST), Reservation(OTHER, outside)]
    assert lab.lease("02:00:00:00:00:01", {50: FIRST.packed}) == SECOND
    assert lab.lease(MAC) == FIRST
    assert lab.lease(OTHER) == outside


def test_a_new_reservation_moves_the_pc_at_its_next_renewal() -> None:
    lab = Lab()
    assert lab.lease() == FIRST
    lab.books.reserved = [Reservation(MAC, THIRD)]
    lab.changed()
    assert kinds(lab.request(ciaddr=FIRST)) == [NAK]
    assert lab.lease() == THIRD
    assert list(lab.effects.stored) == [THIRD]


def test_a_reserved_address_that_somebody_still_has_is_waited_for() -> None:
    lab = Lab()
    lab.lease(OTHER)
    lab.books.reserved = [Reservation(MAC, FIRST)]
    lab.changed()
    assert lab.lease(MAC) == SECOND
    assert kinds(lab.request(OTHER, ciaddr=FIRST)) == [NAK]
    lab.clock.now += 3601
    assert lab.lease(MAC) == FIRST


def test_an_address_that_is_no_longer_reserved_can_be_lent_again() -> None:
    lab = Lab()
    lab.books.reserved = [Reservation(OTHER, FIRST)]
    assert [lab.lease(f"02:00:00:00:00:0{number}") for number in range(3)] == [SECOND, THIRD, None]
    lab.books.reserved = []
    lab.changed()
    assert lab.lease("02:00:00:00:00:02") == FIRST


# REQUEST in its four kinds


def test_a_client_that_chose_another_server_is_left_alone_and_its_offer_is_free_again() -> None:
    lab = Lab()
    lab.discover()
    assert lab.request(options={54: IPv4Address("10.0.0.2").packed, 50: FIRST.packed}) == []
    assert lab.lease(OTHER, {50: FIRST.packed}) == FIRST


def test_an_offer_that_was_made_before_a_restart_is_honoured() -> None:
    lab = Lab()
    assert kinds(lab.request(options={54: ME.packed, 50: SECOND.packed})) == [ACK]


@pytest.mark.parametrize("address", [SECOND, IPv4Address("10.0.0.99"), IPv4Address("192.168.1.1")])
def test_an_address_that_was_not_offered_is_refused(address: IPv4Address) -> None:
    lab = Lab()
    lab.lease(OTHER, {50: SECOND.packed})
    assert kinds(lab.request(options={54: ME.packed, 50: address.packed})) == [NAK]


def test_a_rebooting_client_gets_its_own_address_confirmed() -> None:
    lab = Lab()
    lab.lease()
    assert kinds(lab.request(options={50: FIRST.packed})) == [ACK]


def test_a_rebooting_client_with_a_wrong_address_is_told_so() -> None:
    lab = Lab()
    lab.lease()
    assert kinds(lab.request(options={50: SECOND.packed})) == [NAK]
    assert kinds(lab.request(options={50: IPv4Address("192.168.1.5").packed})) == [NAK]


def test_a_rebooting_client_nobody_knows_hears_nothing() -> None:
    assert Lab().request(options={50: FIRST.packed}) == []


def test_a_renewal_extends_the_lease_and_is_answered_to_the_client_itself() -> None:
    lab = Lab()
    lab.lease()
    lab.clock.now += 1800
    assert kinds(lab.request(ciaddr=FIRST)) == [ACK]
    reply, to = lab.effects.sent[-1]
    assert (to.via, to.address, reply.ciaddr, reply.yiaddr) == (Via.ROUTED, FIRST, FIRST, FIRST)
    assert lab.effects.stored[FIRST].expires.timestamp() == lab.clock.now + 3600


def test_a_renewal_of_an_address_nobody_has_is_granted_and_of_anothers_refused() -> None:
    lab = Lab()
    assert kinds(lab.request(ciaddr=SECOND)) == [ACK]
    assert kinds(lab.request(OTHER, ciaddr=SECOND)) == [NAK]


# DECLINE, RELEASE, INFORM


def test_a_declined_address_is_lent_to_nobody_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab()
    lab.lease()
    lab.tell(message(MessageType.DECLINE, options={54: ME.packed, 50: FIRST.packed}))
    assert lab.effects.stored[FIRST].declined
    assert f"{MAC} declines {FIRST}: somebody else uses that address." in caplog.text
    assert lab.lease() == SECOND


def test_a_client_cannot_decline_what_it_does_not_have() -> None:
    lab = Lab()
    lab.lease(OTHER)
    lab.tell(message(MessageType.DECLINE, options={54: ME.packed, 50: FIRST.packed}))
    lab.tell(message(MessageType.DECLINE, options={54: ME.packed, 50: SECOND.packed}))
    assert not lab.effects.stored[FIRST].declined
    assert SECOND not in lab.effects.stored


def test_a_released_address_is_free_at_once_but_its_client_gets_it_again_first() -> None:
    lab = Lab()
    lab.lease()
    lab.tell(message(MessageType.RELEASE, ciaddr=FIRST, options={54: ME.packed}))
    assert lab.effects.stored[FIRST].expires.timestamp() == lab.clock.now
    assert lab.lease() == FIRST
    lab.tell(message(MessageType.RELEASE, ciaddr=FIRST, options={54: ME.packed}))
    assert lab.lease(OTHER, {50: FIRST.packed}) == FIRST


def test_nobody_can_release_another_ones_lease() -> None:
    lab = Lab()
    lab.lease(OTHER)
    lab.tell(message(MessageType.RELEASE, ciaddr=FIRST))
    assert lab.effects.stored[FIRST].expires.timestamp() == lab.clock.now + 3600


def test_inform_gets_settings_and_no_lease() -> None:
    lab = Lab()
    (reply,) = lab.tell(message(MessageType.INFORM, ciaddr=IPv4Address("10.0.0.77")))
    assert reply.message_type is ACK
    assert Opt.LEASE_TIME not in reply.options
    assert lab.effects.sent[-1][1].address == IPv4Address("10.0.0.77")
    assert lab.effects.stored == {}


def test_inform_without_a_client_address_is_answered_to_where_it_came_from() -> None:
    lab = Lab()
    lab.tell(message(MessageType.INFORM), ("10.0.0.78", 68))
    assert lab.effects.sent[-1][1].address == IPv4Address("10.0.0.78")


# Subnets and relays


def test_the_relay_chooses_the_subnet_and_carries_the_answer() -> None:
    lab = Lab(SUBNET, FAR_SUBNET)
    (offer,) = lab.discover(giaddr=IPv4Address("10.9.0.1"), options={82: b"\x01\x04port"})
    assert offer.yiaddr == IPv4Address("10.9.0.10")
    assert offer.options[82] == b"\x01\x04port"
    to = lab.effects.sent[-1][1]
    assert (to.via, to.address, to.port) == (Via.RELAY, IPv4Address("10.9.0.1"), 67)


def test_link_selection_chooses_the_subnet_before_the_relays_own_address() -> None:
    lab = Lab(SUBNET, FAR_SUBNET)
    (offer,) = lab.discover(giaddr=ME, options={82: b"\x05\x04\x0a\x09\x00\x00"})
    assert offer.yiaddr == IPv4Address("10.9.0.10")


def test_a_renewal_from_afar_needs_no_relay() -> None:
    lab = Lab(SUBNET, FAR_SUBNET)
    address = lab.lease(giaddr=IPv4Address("10.9.0.1"))
    assert address is not None
    assert kinds(lab.request(ciaddr=address)) == [ACK]


def test_a_network_without_a_subnet_gets_nothing_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab()
    assert lab.discover(giaddr=IPv4Address("172.16.0.1")) == []
    assert "no [[dhcp.subnet]] has that network" in caplog.text
    assert "172.16.0.1" in caplog.text


def test_a_pc_in_two_subnets_has_a_lease_in_each() -> None:
    lab = Lab(SUBNET, FAR_SUBNET)
    assert lab.lease() == FIRST
    assert lab.lease(giaddr=IPv4Address("10.9.0.1")) == IPv4Address("10.9.0.10")
    assert kinds(lab.request(ciaddr=FIRST)) == [ACK]


def test_in_a_second_network_of_the_link_we_are_known_by_our_address_there() -> None:
    lab = Lab(SUBNET, FAR_SUBNET)
    far = IPv4Address("10.9.0.1")
    link = Link("eth0", 2, LINK.mac, (*LINK.addresses, IPv4Interface("10.9.0.1/24")))
    lab.server.handle(message(MessageType.REQUEST, ciaddr=IPv4Address("10.9.0.20"), options=PXE), link, NOBODY)
    (reply, _) = lab.effects.sent[-1]
    assert (reply.options[54], reply.siaddr) == (far.packed, far)


def test_a_client_that_cannot_hear_unicast_is_broadcast_to() -> None:
    lab = Lab()
    lab.discover(flags=BROADCAST_FLAG)
    assert lab.effects.sent[-1][1].via is Via.BROADCAST


# Network boot


def test_a_firmware_gets_its_loader_with_the_lease_and_is_sighted() -> None:
    lab = Lab()
    uuid = UUID(bytes_le=bytes(range(16)))
    options = {**PXE, 97: b"\0" + bytes(range(16))}
    assert lab.lease(options=options) == FIRST
    assert lab.effects.sent[-1][0].file == b"shimx64.efi"
    (seen,) = lab.effects.sightings
    assert (seen.mac, seen.ip, seen.uuid, seen.arch) == (MAC, str(FIRST), uuid, 7)


def test_an_architecture_without_an_agent_gets_an_address_no_loader_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab = Lab()
    assert lab.lease(options={**PXE, 93: b"\x00\x0b"}) == FIRST
    offer, ack = (reply for reply, _ in lab.effects.sent)
    assert (offer.file, ack.file) == (b"", b"")
    assert Opt.BOOT_FILE not in ack.options
    assert "52:54:00:aa:01:02 is 64-bit ARM UEFI (option 93 = 11): there is no agent for it" in caplog.text
    assert lab.effects.sightings[-1].detail == "64-bit ARM UEFI: no agent for this architecture, no loader offered"


def test_a_host_that_wants_no_answer_gets_none_as_firmware_but_an_address_as_system() -> None:
    lab = Lab()
    lab.books.hosts = [Host(1, "pc-01", (MAC,), local_boot=LocalBoot.NO_ANSWER)]
    assert lab.discover(options=PXE) == []
    assert lab.lease(options=DUID) == FIRST


def test_a_host_that_wants_no_answer_is_answered_while_it_has_a_task() -> None:
    lab = Lab()
    lab.books.hosts = [Host(1, "pc-01", (MAC,), local_boot=LocalBoot.NO_ANSWER)]
    lab.books.tasks[1] = Task(1, TaskKind.DEPLOY, TaskState.WAITING, "win11", host_id=1)
    assert lab.lease(options=PXE) == FIRST


def test_a_sealed_host_is_always_answered_for_it_must_not_start_its_disk() -> None:
    lab = Lab()
    lab.books.hosts = [Host(1, "pc-01", (MAC,), local_boot=LocalBoot.NO_ANSWER, sealed=True)]
    assert lab.lease(options=PXE) == FIRST


def test_ipxe_is_sent_to_the_script_of_its_mac() -> None:
    lab = Lab()
    (offer,) = lab.discover(options={**PXE, 77: b"iPXE"})
    assert offer.options[67] == b"http://10.0.0.1/boot/ipxe/52-54-00-aa-01-02"


# Trouble


@pytest.mark.parametrize("kind", [OFFER, ACK, NAK])
def test_what_only_servers_say_is_ignored(kind: MessageType) -> None:
    assert Lab().tell(message(kind)) == []


@given(
    kind=st.integers(0, 9),
    options=st.dictionaries(st.integers(1, 254), st.binary(max_size=20), max_size=8),
    ciaddr=st.sampled_from([0, int(FIRST), int(SECOND), 0xFFFFFFFF]).map(IPv4Address),
    giaddr=st.sampled_from([0, 0x0A090001, 0xFFFFFFFF]).map(IPv4Address),
    mac=st.sampled_from([MAC, OTHER]),
)
@settings(max_examples=300)
def test_no_message_raises_anything_but_malformed(
    kind: int, options: dict[int, bytes], ciaddr: IPv4Address, giaddr: IPv4Address, mac: str
) -> None:
    logging.disable(logging.CRITICAL)
    try:
        lab = Lab(SUBNET, FAR_SUBNET)
        chaddr = bytes.fromhex(mac.replace(":", ""))
        packet = Packet(
            op=1, xid=1, chaddr=chaddr, options={**options, 53: bytes((kind,))}, ciaddr=ciaddr, giaddr=giaddr
        )
        try:
            lab.server.handle(packet, LINK, NOBODY)
        except MalformedOption:
            return
        assert len({lease.address for lease in lab.effects.stored.values()}) == len(lab.effects.stored)
    finally:
        logging.disable(logging.NOTSET)

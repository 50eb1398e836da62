"""The cast service follows the addresses of its interfaces."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.config import Cast, Network
from appliance.errors import ConfigError, Unavailable
from appliance.services.cast_sockets import Card, cards_of
from appliance.services.cast_wiring import Wiring
from tests.services.cast_room import SERVER, Room
from tests.services.dhcp_wires import BOX, Wires

SECOND = "10.77.0.2"
ONE, TWO = (Card("lo", 1, IPv4Address(f"127.0.0.{number}"), None) for number in (1, 2))


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Wires(f"{SERVER}/16") as wires:
        made = Room(tmp_path, wires, "rate_mbit = 200")
        try:
            yield made
        finally:
            made.close()


@pytest.mark.netns
def test_an_address_that_comes_after_the_start_is_cast_from(room: Room) -> None:
    version = room.image(50)
    cast = room.cast(version)
    task = room.order(version, cast)
    room.wires.box_ip("addr", "del", f"{SERVER}/16", "dev", BOX)
    words = ("addr", "add", f"{SERVER}/16", "brd", "+", "dev", BOX)
    later = threading.Timer(2.0, room.wires.box_ip, words)
    later.start()
    try:
        room.start()  # returns when the service listens, which it cannot before
        assert not later.is_alive()
    finally:
        later.join()
    assert room.power_on(task, cast).report().complete


@pytest.mark.netns
def test_a_box_whose_address_changes_casts_from_the_new_one(room: Room) -> None:
    version = room.image(50)
    cast = room.cast(version)
    before, after = (room.order(version, cast) for _ in range(2))
    room.start()
    assert room.power_on(before, cast).report().complete
    room.wires.box_ip("addr", "del", f"{SERVER}/16", "dev", BOX)
    room.wires.box_ip("addr", "add", f"{SECOND}/16", "brd", "+", "dev", BOX)
    assert room.power_on(after, cast, server=SECOND).report().complete
    assert room.stop() == 0


@pytest.mark.netns
def test_a_link_that_comes_up_after_the_start_is_cast_over(room: Room) -> None:
    version = room.image(50)
    cast = room.cast(version)
    task = room.order(version, cast)
    room.wires.box_ip("link", "set", BOX, "down")
    room.start()
    station = room.power_on(task, cast)
    room.wires.box_ip("link", "set", BOX, "up")
    assert station.report().complete


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


def test_sockets_come_and_go_with_their_addresses_and_numbers_are_not_used_again(port: int) -> None:
    wiring = Wiring(Cast(feedback_port=port), [ONE])
    try:
        wiring.follow(frozenset({ONE, TWO}))
        assert {number: outlet.card for number, outlet in wiring.outlets.items()} == {0: ONE, 1: TWO}
        kept = wiring.outlets[1]
        wiring.follow(frozenset({TWO}))
        assert wiring.outlets == {1: kept}
        wiring.follow(frozenset({ONE, TWO}))
        assert {number: outlet.card for number, outlet in wiring.outlets.items()} == {1: TWO, 2: ONE}
        assert wiring.outlet_of(kept.feedback.fileno()) == 1
        wiring.follow(frozenset())
        assert (wiring.outlets, wiring.igmp, wiring.cards) == ({}, [], frozenset())
    finally:
        wiring.close()


def test_an_address_whose_port_is_taken_is_named_once_and_tried_again(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    wiring = Wiring(Cast(feedback_port=port), [ONE])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, caplog.at_level(logging.ERROR):
            taken.bind(("127.0.0.2", port))
            for _ in range(3):
                wiring.follow(frozenset({ONE, TWO}))
            assert wiring.cards == {ONE}
        errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
        assert [f"127.0.0.2 port {port}" in error for error in errors] == [True]
        wiring.follow(frozenset({ONE, TWO}))
        assert wiring.cards == {ONE, TWO}
    finally:
        wiring.close()


def test_each_of_two_addresses_that_cannot_be_had_is_named_once(port: int, caplog: pytest.LogCaptureFixture) -> None:
    wiring = Wiring(Cast(feedback_port=port), [])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, caplog.at_level(logging.ERROR):
            taken.bind(("", port))
            for _ in range(3):
                wiring.follow(frozenset({ONE, TWO}))
        errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
        assert [f"127.0.0.{number} port {port}" in error for number, error in enumerate(errors, 1)] == [True, True]
    finally:
        wiring.close()


def test_a_port_that_is_taken_at_the_start_keeps_the_service_from_starting(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.2", port))
        with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.2 port {port}"):
            Wiring(Cast(feedback_port=port), [ONE, TWO])


def test_interfaces_that_do_not_exist_yet_have_no_address_and_none_at_all_is_a_mistake() -> None:
    assert cards_of(Network(interfaces=("nothing0",))) == []
    assert ONE.address in {card.address for card in cards_of(Network(interfaces=("nothing0", "lo")))}
    with pytest.raises(ConfigError, match="no interface to go out of"):
        cards_of(Network(interfaces=()))

"""Network interfaces: of this machine for real, and rates from counters."""

from __future__ import annotations

import dataclasses
import socket
from ipaddress import IPv4Interface

from appliance.system.links import Flow, Link, Meter, links


def test_the_loopback_is_listed_last_with_its_address() -> None:
    found = links()
    assert found[-1].name == "lo"
    assert found[-1].up
    assert IPv4Interface("127.0.0.1/8") in found[-1].addresses
    assert len({link.name for link in found}) == len(found)


def test_what_is_sent_is_counted() -> None:
    before = links()[-1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, socket.socket(type=socket.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        for _ in range(20):
            sender.sendto(bytes(1000), receiver.getsockname())
    after = links()[-1]
    assert after.sent_bytes - before.sent_bytes >= 20_000
    assert after.received_bytes - before.received_bytes >= 20_000


def test_rates_are_of_the_time_between_two_looks() -> None:
    times = iter([10.0, 12.0, 13.0, 14.0])
    meter = Meter(clock=lambda: next(times))
    eth1 = Link("eth1", True, 1000, 1500, received_bytes=1_000, sent_bytes=5_000)
    assert meter.flows([eth1]) == {"eth1": Flow(0, 0)}
    later = dataclasses.replace(eth1, received_bytes=3_000, sent_bytes=105_000)
    new = Link("usb0", True, 0, 1500, sent_bytes=7)
    assert meter.flows([later, new]) == {"eth1": Flow(1_000, 50_000), "usb0": Flow(0, 0)}
    reset = dataclasses.replace(eth1, received_bytes=0, sent_bytes=0)
    assert meter.flows([reset]) == {"eth1": Flow(0, 0)}, "a counter that went back is no negative rate"
    assert meter.flows([]) == {}

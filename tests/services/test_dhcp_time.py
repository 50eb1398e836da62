"""Option 42: PCs are told who has the time."""

from __future__ import annotations

import dataclasses
import logging
from ipaddress import IPv4Address

import pytest

from appliance.services.dhcp_log import Complaints
from appliance.services.dhcp_server import FullServer
from tests.fakes.dhcp import ME, SUBNET, Lab

NTP = 42
OTHER = IPv4Address("10.0.0.4")


@pytest.mark.parametrize(
    ("gives_time", "named", "told"),
    [(True, (), ME.packed), (False, (), None), (True, (OTHER,), OTHER.packed), (False, (OTHER,), OTHER.packed)],
)
def test_a_pc_gets_the_named_time_server_else_this_box_while_it_serves_time(
    gives_time: bool, named: tuple[IPv4Address, ...], told: bytes | None
) -> None:
    lab = Lab(dataclasses.replace(SUBNET, ntp=named))
    complaints = Complaints(logging.getLogger("dhcp"), lab.clock)
    lab.server = FullServer(
        lab.pool, lab.directory(), lab.effects, complaints, lease_s=3600, http_port=80, gives_time=lambda: gives_time
    )
    (offer,) = lab.discover()
    assert offer.options.get(NTP) == told


def test_who_does_not_ask_for_it_is_not_told() -> None:
    lab = Lab()
    lab.server._gives_time = lambda: True
    (offer,) = lab.discover(options={55: bytes((1, 3))})
    assert NTP not in offer.options

"""What cannot be sent to a cast's group is said once, and again after it went well meanwhile."""

from __future__ import annotations

import errno
import logging
import os
from ipaddress import IPv4Address

import pytest

from appliance.config import Cast
from appliance.services.cast_sockets import Card, Outlet
from tests.services.test_cast_wiring import free_port

GROUP = IPv4Address("239.192.68.1")


class FlakySocket:
    """Takes datagrams while the network is there."""

    def __init__(self) -> None:
        self.error = 0

    def sendto(self, frames: bytes, target: tuple[str, int]) -> None:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))


@pytest.fixture
def outlet() -> Outlet:
    made = Outlet(Card("lo", 1, IPv4Address("127.0.0.1"), None), Cast(feedback_port=free_port()))
    made.close()
    return made


def test_lost_frames_are_said_once_and_again_after_they_went_out(
    outlet: Outlet, caplog: pytest.LogCaptureFixture
) -> None:
    flaky = FlakySocket()
    outlet.data = flaky  # type: ignore[assignment]
    caplog.set_level(logging.WARNING)
    told = []
    for flaky.error in (errno.ENETDOWN, errno.ENETDOWN, 0, errno.ENETDOWN):
        outlet.send(b"frame", GROUP)
        told.append(caplog.text.count("are lost: [Errno 100]"))
    assert told == [1, 1, 1, 2]

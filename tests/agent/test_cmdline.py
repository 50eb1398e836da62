"""What the agent reads from the kernel line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.agent.cmdline import BootLine
from appliance.errors import BadData

LINE = "BOOT_IMAGE=/boot/vmlinuz diecast.server=http://10.20.4.1 diecast.mac=52:54:00:AA:01:02 console=ttyS0"


def test_server_mac_and_purpose_are_read() -> None:
    line = BootLine.parse(LINE + " diecast.purpose=register")
    assert line == BootLine("10.20.4.1", 80, "52:54:00:aa:01:02", "register")
    assert line.url == "http://10.20.4.1"


def test_another_port_is_part_of_the_url() -> None:
    line = BootLine.parse("diecast.server=http://10.20.4.1:8080/")
    assert (line.port, line.url, line.purpose) == (8080, "http://10.20.4.1:8080", "task")


def test_bootif_serves_when_the_loader_gave_no_mac() -> None:
    assert BootLine.parse("diecast.server=http://b BOOTIF=01-52-54-00-aa-01-02").boot_mac == "52:54:00:aa:01:02"


def test_a_mac_that_is_none_is_as_good_as_none() -> None:
    assert BootLine.parse("diecast.server=http://b diecast.mac=${net0/mac} BOOTIF=20-00").boot_mac == ""


@pytest.mark.parametrize("server", ["", "diecast.server=", "diecast.server=10.0.0.1", "diecast.server=http://:80"])
def test_no_box_to_talk_to_is_said_in_words(server: str) -> None:
    with pytest.raises(BadData, match="names no box"):
        BootLine.parse(server)


def test_an_unknown_purpose_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadData, match=r"'dance'.* Known are task, register"):
        BootLine.parse("diecast.server=http://b diecast.purpose=dance")


@settings(max_examples=200)
@given(st.text(max_size=80), st.text(max_size=40))
def test_no_kernel_line_raises_anything_but_bad_data(server: str, rest: str) -> None:
    try:
        line = BootLine.parse(f"diecast.server=http://{server} diecast.mac={rest} BOOTIF={rest}")
    except BadData:
        return
    assert line.host
    assert 0 < line.port < 65536

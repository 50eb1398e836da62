"""Who gives the time, and what chrony is told."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.system import clock
from appliance.system.clock import serves_time

CHRONY = Path(__file__).parents[2] / "systemd" / "chrony" / "diecast.conf"
HEAD = "   sl  local_address rem_address   st tx_queue rx_queue\n"
LINE = "  42: {address}:{port} 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0000000000000000 0\n"


@pytest.mark.parametrize(
    ("address", "port", "serves"),
    [("00000000", "007B", True), ("0104140A", "007B", True), ("0100007F", "007B", False), ("00000000", "0045", False)],
)
def test_who_listens_for_ntp_beyond_the_loopback_gives_time(
    tmp_path: Path, address: str, port: str, serves: bool
) -> None:
    table = tmp_path / "udp"
    table.write_text(HEAD + LINE.format(address=address, port=port))
    assert serves_time(table) is serves


def test_the_kernels_own_table_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        monkeypatch.setattr(clock, "NTP_PORT", sock.getsockname()[1])
        assert serves_time()
    assert not serves_time()


def test_without_a_table_nobody_gives_time(tmp_path: Path) -> None:
    assert not serves_time(tmp_path / "nowhere")


def test_chrony_answers_private_addresses_alone_and_goes_on_without_a_source() -> None:
    lines = [line for line in CHRONY.read_text().splitlines() if line and not line.startswith("#")]
    allowed = [IPv4Network(line.removeprefix("allow ")) for line in lines if line.startswith("allow ")]
    for address, may in (("10.20.4.1", True), ("192.168.1.9", True), ("172.31.0.1", True), ("8.8.8.8", False)):
        assert any(IPv4Address(address) in network for network in allowed) is may
    assert [line for line in lines if not line.startswith("allow ")] == ["local stratum 10"]

"""Whose an interface is: systemd-networkd's, or somebody else's who is named."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from appliance.errors import Conflict, Unavailable
from appliance.system import networkd, units


@pytest.fixture
def active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """A machine with systemd whose folders are empty; the units that run."""
    running = {networkd.SERVICE}
    monkeypatch.setattr(units, "systemd_runs", lambda: True)
    monkeypatch.setattr(units, "is_active", lambda unit: unit in running)
    monkeypatch.setattr(networkd, "index_of", lambda interface: {"eth1": 2, "eth12": 3}.get(interface, 0))
    for name in ("_LINKS", "_NET", "_NM_DEVICES"):
        monkeypatch.setattr(networkd, name, tmp_path / name)
        (tmp_path / name).mkdir()
    monkeypatch.setattr(networkd, "_IFUPDOWN", (tmp_path / "interfaces", tmp_path / "interfaces.d"))
    return running


@pytest.mark.usefixtures("active")
def test_an_interface_that_nobody_else_has_is_ours_to_change() -> None:
    networkd.refuse_unless_ours("eth1")


def test_where_systemd_does_not_run_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "systemd_runs", lambda: False)
    with pytest.raises(Unavailable, match="systemd does not run this machine"):
        networkd.refuse_unless_ours("eth1")


def test_where_networkd_does_not_run_it_says_so(active: set[str]) -> None:
    active.clear()
    with pytest.raises(Unavailable, match="systemd-networkd does not run"):
        networkd.refuse_unless_ours("eth1")


@pytest.mark.usefixtures("active")
@pytest.mark.parametrize("text", ["iface eth1 inet static\n", "auto lo eth1\n", "  allow-hotplug eth1\n"])
@pytest.mark.parametrize("place", ["interfaces", "interfaces.d/setup"])
def test_ifupdown_keeps_what_its_files_name(tmp_path: Path, place: str, text: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("# nothing\niface lo inet loopback\n" + text)
    with pytest.raises(Conflict, match=f"eth1 is managed by ifupdown, in .*{path.name}"):
        networkd.refuse_unless_ours("eth1")
    networkd.refuse_unless_ours("eth12")


def test_network_manager_keeps_what_it_manages_while_it_runs(tmp_path: Path, active: set[str]) -> None:
    (tmp_path / "_NM_DEVICES" / "2").write_text("[device]\nmanaged=true\n")
    networkd.refuse_unless_ours("eth1")
    active.add("NetworkManager.service")
    with pytest.raises(Conflict, match=r"eth1 is managed by NetworkManager\."):
        networkd.refuse_unless_ours("eth1")
    (tmp_path / "_NM_DEVICES" / "2").write_text("[device]\nmanaged=false\n")
    networkd.refuse_unless_ours("eth1")


@pytest.mark.usefixtures("active")
def test_a_part_of_a_bridge_has_no_address_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "_NET" / "br0").mkdir()
    (tmp_path / "_NET" / "eth1").mkdir()
    (tmp_path / "_NET" / "eth1" / "master").symlink_to(tmp_path / "_NET" / "br0")
    with pytest.raises(Conflict, match="eth1 is a part of br0"):
        networkd.refuse_unless_ours("eth1")


@pytest.mark.usefixtures("active")
def test_a_link_that_carries_others_is_left_to_its_file(tmp_path: Path) -> None:
    file = tmp_path / "50-trunk.network"
    (tmp_path / "_LINKS" / "2").write_text(f"ADMIN_STATE=configured\nNETWORK_FILE={file}\n")
    file.write_text("[Match]\nName=eth1\n[Network]\nDHCP=yes\n")
    networkd.refuse_unless_ours("eth1")
    file.write_text("[Match]\nName=eth1\n[Network]\nVLAN=lab\n")
    with pytest.raises(Conflict, match="eth1 carries other interfaces, by"):
        networkd.refuse_unless_ours("eth1")


def test_the_file_says_a_fixed_address_that_needs_no_cable_or_dhcp() -> None:
    text = networkd.render("eth1", IPv4Interface("10.20.4.1/22"), None, (IPv4Address("10.20.4.2"),))
    assert "[Match]\nName=eth1\n" in text
    assert "ConfigureWithoutCarrier=yes\nAddress=10.20.4.1/22\nDNS=10.20.4.2\n" in text
    assert "Gateway" not in text
    assert "[Network]\nDHCP=ipv4\n" in networkd.render("eth1", None, None, ())

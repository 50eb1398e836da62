"""The other ways to the agent: proxyDHCP beside a foreign server, UEFI HTTP Boot, our own iPXE under a foreign ROM."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.events import BootStage
from tests.e2e.conftest import AGENT_READY, BOOT_S, FOLDER, Lab
from tests.lab.box import BoxOptions

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]


def test_uefi_http_boot_reaches_the_agent_with_secure_boot_on(lab: Lab) -> None:
    pc = lab.pc("http-boot", firmware="uefi-sb", bus="virtio")
    lab.box.cli("capture", "http-boot", "--image", "never")
    pc.power_on(first="http")
    pc.waits_for(r"URI: http://10\.77\.0\.1/shimx64\.efi", BOOT_S)
    pc.waits_for(AGENT_READY, BOOT_S)
    host = lab.host("http-boot")
    assert host is not None
    assert host.secure_boot is True
    assert lab.box.sightings()[pc.mac].arch == 16


@contextmanager
def dnsmasq(lab: Lab, *options: str) -> Iterator[Path]:
    """A foreign DHCP server on a machine of its own in the lab; its log is handed over."""
    log = lab.folder / "dnsmasq.log"
    station = lab.network.add_station("dnsmasq", "10.77.0.2/24")
    words = ["dnsmasq", "--no-daemon", "--port=0", "--conf-file=/dev/null", "--interface=eth0", "--bind-interfaces"]
    words += ["--dhcp-range=10.77.0.50,10.77.0.90,1h", "--log-dhcp", "--dhcp-authoritative"]
    words += [f"--dhcp-leasefile={lab.folder}/dnsmasq.leases", "--user=root", *options]
    with log.open("wb") as stream:
        server = subprocess.Popen([*station, *words], stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
    try:
        yield log
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def proxy_lab() -> Iterator[tuple[Lab, Path]]:
    """A box in proxyDHCP mode beside a dnsmasq that knows nothing of network boot; the path is dnsmasq's log."""
    lab = Lab(FOLDER / "proxy", BoxOptions(dhcp_mode="proxy"))
    try:
        with dnsmasq(lab) as log:
            lab.box.start()
            yield lab, log
    finally:
        lab.close()


def test_beside_a_foreign_dhcp_server_a_secure_boot_pc_has_its_address_and_our_loader(
    proxy_lab: tuple[Lab, Path],
) -> None:
    lab, log = proxy_lab
    pc = lab.pc("beside", firmware="uefi-sb", bus="nvme")
    lab.box.cli("capture", "beside", "--image", "never")
    pc.power_on()
    pc.waits_for(AGENT_READY, BOOT_S)
    host = lab.host("beside")
    assert host is not None
    assert host.secure_boot is True
    assert IPv4Address("10.77.0.50") <= IPv4Address(host.ip) <= IPv4Address("10.77.0.90")
    assert re.search(rf"DHCPACK\(eth0\) 10\.77\.0\.\d+ {pc.mac}", log.read_text())
    assert "shimx64.efi" in lab.box.log.read_text()
    assert not lab.box.json("lease", "list")


def test_beside_a_foreign_dhcp_server_a_bios_pc_gets_its_script_from_us(proxy_lab: tuple[Lab, Path]) -> None:
    lab, _ = proxy_lab
    pc = lab.pc("beside-bios", firmware="bios")
    pc.power_on()
    lab.box.sees(pc.mac, BootStage.LOCAL, BOOT_S)


def test_our_own_ipxe_over_a_bios_cards_driver_takes_a_pc_to_the_agent() -> None:
    """QEMU's BIOS ROMs are iPXE themselves and never offered undionly.kpxe; a foreign server makes this one load it.

    As soon as our TFTP has served it, the foreign server is gone, and everything further is between our iPXE and us.
    """
    lab = Lab(FOLDER / "undionly", BoxOptions(dhcp_mode="off"))
    try:
        with dnsmasq(lab, "--dhcp-boot=undionly.kpxe,box,10.77.0.1"):
            lab.box.start()
            pc = lab.pc("own-ipxe", firmware="bios", bus="nvme")
            lab.box.cli("capture", "own-ipxe", "--image", "never")
            pc.power_on()
            served = "10.77.0.[0-9]+ got undionly.kpxe"
            lab.box.wait_until(
                lambda: re.search(served, lab.box.log.read_text()) is not None,
                BOOT_S,
                lambda: "undionly.kpxe was not fetched",
            )
        lab.box.stop()
        lab.box.reconfigure(BoxOptions())
        lab.box.start()
        pc.waits_for(AGENT_READY, BOOT_S)
        assert lab.box.json("lease", "list")
    finally:
        lab.close()

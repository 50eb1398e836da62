"""Which file each architecture is given: the whole table."""

from ipaddress import IPv4Address

import pytest

from appliance.boot.firmware import BootServer, LoaderFile, boot_file, firmware_of, loader_for
from appliance.events import UefiLoader
from appliance.model import Host
from appliance.wire.pxe import Arch, PxeClient

MAC = "52:54:00:aa:01:02"
SERVER = BootServer(IPv4Address("10.0.0.1"))
IPXE_HOST = Host(1, "pc", (MAC,), uefi_loader=UefiLoader.IPXE)


def client(arch: int, *, is_ipxe: bool = False, is_http: bool = False) -> PxeClient:
    return PxeClient(arch, None, is_ipxe, is_http)


@pytest.mark.parametrize(
    ("arch", "loader"),
    [
        (Arch.BIOS, LoaderFile.UNDIONLY),
        (Arch.EFI_X64, LoaderFile.SHIM),
        (Arch.EFI_BC, LoaderFile.SHIM),
        (Arch.HTTP_X64, LoaderFile.SHIM),
        (Arch.EFI_IA32, None),
        (Arch.EFI_ARM64, None),
        (Arch.HTTP_IA32, None),
        (Arch.HTTP_ARM64, None),
        (Arch.EFI_ITANIUM, None),
        (4711, None),
    ],
)
def test_the_loader_follows_option_93(arch: int, loader: LoaderFile | None) -> None:
    assert loader_for(client(arch), None) is loader


def test_a_host_may_choose_ipxe_under_uefi_but_not_another_bios_loader() -> None:
    assert loader_for(client(Arch.EFI_X64), IPXE_HOST) is LoaderFile.SNPONLY
    assert loader_for(client(Arch.BIOS), IPXE_HOST) is LoaderFile.UNDIONLY


def test_ipxe_gets_the_script_of_its_mac() -> None:
    url = "http://10.0.0.1/boot/ipxe/52-54-00-aa-01-02"
    assert boot_file(client(Arch.BIOS, is_ipxe=True), None, SERVER, MAC) == url
    assert boot_file(client(Arch.EFI_X64, is_ipxe=True), None, SERVER, MAC) == url


def test_http_boot_gets_a_url_with_the_port_where_it_is_not_80() -> None:
    other_port = BootServer(IPv4Address("10.0.0.1"), 8080)
    asker = client(Arch.HTTP_X64, is_http=True)
    assert boot_file(asker, None, SERVER, MAC) == "http://10.0.0.1/shimx64.efi"
    assert boot_file(asker, None, other_port, MAC) == "http://10.0.0.1:8080/shimx64.efi"


def test_an_architecture_without_an_agent_gets_nothing_even_from_ipxe() -> None:
    assert boot_file(client(Arch.EFI_ARM64, is_ipxe=True), None, SERVER, MAC) is None


def test_every_architecture_can_be_named_in_words() -> None:
    assert firmware_of(Arch.EFI_ARM64).label == "64-bit ARM UEFI"
    assert firmware_of(4711).label == "architecture 4711"

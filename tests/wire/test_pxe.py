"""Who asks, by options 60, 77, 93, 97 and 175. The values are those that firmware sends."""

import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.wire.dhcp_options import MalformedOption, parse_options
from appliance.wire.pxe import Arch, PxeClient, boot_file_is_final, ipxe_needs_no_proxy

OVMF = {60: b"PXEClient:Arch:00007:UNDI:003016", 93: b"\x00\x07", 94: b"\x01\x03\x10"}


def client(options: dict[int, bytes]) -> PxeClient:
    found = PxeClient.from_options(options)
    assert found is not None
    return found


def test_an_operating_system_is_no_network_boot() -> None:
    assert PxeClient.from_options({60: b"MSFT 5.0", 12: b"pc-01"}) is None
    assert PxeClient.from_options({}) is None


def test_ovmf_is_x64_uefi_and_not_ipxe() -> None:
    found = client(OVMF)
    assert (found.arch, found.is_ipxe, found.is_http) == (Arch.EFI_X64, False, False)


def test_http_boot_is_told_by_its_class() -> None:
    found = client({60: b"HTTPClient:Arch:00016:UNDI:003016", 93: b"\x00\x10"})
    assert (found.arch, found.is_http) == (Arch.HTTP_X64, True)


@pytest.mark.parametrize(
    "mark", [{77: b"iPXE"}, {77: b"\x04iPXE"}, {77: b"\x03abc\x04iPXE"}, {175: b"\xb1\x05\x01\x80\x86\x10\x0e"}]
)
def test_ipxe_is_told_from_the_firmware_it_runs_on(mark: dict[int, bytes]) -> None:
    assert client({**OVMF, **mark}).is_ipxe


def test_the_architecture_is_taken_from_the_class_when_option_93_is_missing() -> None:
    assert client({60: b"PXEClient:Arch:00011:UNDI:003000"}).arch == Arch.EFI_ARM64
    assert client({60: b"PXEClient"}).arch == Arch.BIOS


def test_the_first_of_several_architectures_counts() -> None:
    assert client({60: b"PXEClient", 93: b"\x00\x07\x00\x00"}).arch == Arch.EFI_X64


def test_the_machine_id_reads_as_the_system_on_that_pc_prints_it() -> None:
    raw = bytes.fromhex("00000102030405060708090a0b0c0d0e0f")
    assert client({**OVMF, 97: raw}).machine_id == UUID("03020100-0504-0706-0809-0a0b0c0d0e0f")


def test_a_pc_without_a_machine_id_is_served_all_the_same() -> None:
    assert client(OVMF).machine_id is None
    assert client({**OVMF, 97: b"\x01" + bytes(16)}).machine_id is None


@pytest.mark.parametrize("broken", [{93: b""}, {93: b"\x07"}, {93: b"\x00\x07\x00"}, {97: b"\x00" * 16}])
def test_a_broken_93_or_97_is_refused(broken: dict[int, bytes]) -> None:
    with pytest.raises(MalformedOption):
        PxeClient.from_options({**OVMF, **broken})


@given(st.dictionaries(st.sampled_from([60, 77, 93, 97, 175]), st.binary(max_size=40)))
def test_no_value_gives_another_error(options: dict[int, bytes]) -> None:
    with contextlib.suppress(MalformedOption):
        PxeClient.from_options({**options, 60: b"PXEClient" + options.get(60, b"")})


def test_discovery_control_says_take_this_file() -> None:
    assert boot_file_is_final() == b"\x06\x01\x08\xff"


def test_ipxe_is_told_not_to_wait_for_a_proxy() -> None:
    assert parse_options(ipxe_needs_no_proxy()) == {176: b"\x01"}

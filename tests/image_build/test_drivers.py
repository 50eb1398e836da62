"""Drivers and firmware of the image against the kernel package's own list, by kmod's tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.image_build.conftest import RECIPE, Image

pytestmark = pytest.mark.guest

# Kind of hardware -> where the kernel keeps its drivers. An entry that ends in .ko is one driver.
WANTED = {
    "wired Ethernet": ["drivers/net/ethernet/", "drivers/net/phy/", "drivers/net/mdio/", "drivers/net/pcs/"],
    "USB Ethernet": ["drivers/net/usb/"],
    "virtual Ethernet": [
        "drivers/net/hyperv/",
        "drivers/net/vmxnet3/",
        "drivers/net/virtio_net.ko",
        "drivers/net/xen-netfront.ko",
    ],
    "ATA": ["drivers/ata/"],
    "NVMe": ["drivers/nvme/"],
    "SCSI": ["drivers/scsi/", "drivers/message/fusion/"],
    "MMC": ["drivers/mmc/", "drivers/misc/cardreader/"],
    "UFS": ["drivers/ufs/"],
    "USB storage": ["drivers/usb/storage/"],
    "USB host": ["drivers/usb/host/", "drivers/usb/core/", "drivers/usb/common/", "drivers/usb/dwc3/"],
    "virtual storage": [
        "drivers/block/virtio_blk.ko",
        "drivers/block/xen-blkfront.ko",
        "drivers/hv/",
        "drivers/virtio/",
    ],
    "Intel VMD": ["drivers/pci/controller/vmd.ko"],
    "keyboards": ["drivers/hid/hid-generic.ko", "drivers/hid/usbhid/usbhid.ko", "drivers/hid/hid-hyperv.ko"],
    "NFS": ["fs/nfs/nfs.ko", "fs/nfs/nfsv4.ko", "net/sunrpc/sunrpc.ko", "fs/lockd/"],
    "file systems": [
        "fs/ext4/",
        "fs/fat/",
        "fs/nls/",
        "fs/efivarfs/",
        "drivers/block/loop.ko",
        "drivers/md/dm-mod.ko",
        "drivers/md/dm-snapshot.ko",
    ],
}

# Firmware that a driver names and no Debian package has. A new name here is a decision, not an accident.
UNPACKAGED = {
    "acenic/tg1.bin",
    "acenic/tg2.bin",
    "adaptec/starfire_rx.bin",
    "adaptec/starfire_tx.bin",
    "aic94xx-seq.fw",
    "ositech/Xilinx7OD.bin",
    "renesas_usb_fw.mem",
    "sun/cassini.bin",
    "wd719x-risc.bin",
    "wd719x-wcs.bin",
}


def _of(names: list[str], places: list[str]) -> list[str]:
    return [name for name in names if any(name == place or name.startswith(place) for place in places)]


@pytest.mark.parametrize("kind", WANTED)
def test_every_module_of_the_kernel_package_for_this_hardware_is_in_the_image(
    kind: str, image: Image, packaged_modules: list[str]
) -> None:
    for place in WANTED[kind]:
        assert _of(packaged_modules, [place]), f"{place} names nothing"
    missing = [name for name in _of(packaged_modules, WANTED[kind]) if not (image.modules / "kernel" / name).is_file()]
    assert missing == []


def test_the_list_of_modules_says_what_is_really_there(boot: Path, image: Image, packaged_modules: list[str]) -> None:
    listed = dict(line.split(None, 1)[::-1] for line in (boot / "modules.txt").read_text().splitlines())
    assert sorted(listed) == packaged_modules
    present = {str(path.relative_to(image.modules / "kernel")) for path in image.modules.rglob("*.ko")}
    assert {name for name, state in listed.items() if state == "in"} == present


def test_every_module_keeps_its_signature(image: Image) -> None:
    unsigned = [path.name for path in image.modules.rglob("*.ko") if not _signed(path)]
    assert unsigned == []


def _signed(path: Path) -> bool:
    return path.read_bytes().endswith(b"~Module signature appended~\n")


def test_the_index_names_every_module_and_nothing_else(image: Image) -> None:
    named, needed = set(), set()
    for line in (image.modules / "modules.dep").read_text().splitlines():
        name, _, needs = line.partition(":")
        named.add(name)
        needed.update(needs.split())
    present = {str(path.relative_to(image.modules)) for path in image.modules.rglob("*.ko")}
    assert named == present
    assert needed <= present


@pytest.mark.parametrize(
    ("alias", "module"),
    [
        ("pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00", "e1000"),
        ("pci:v00008086d000015B8sv00001028sd000007A2bc02sc00i00", "e1000e"),
        ("pci:v00008086d0000125Csv00001849sd0000125Cbc02sc00i00", "igc"),
        ("pci:v000010ECd00008168sv00001043sd00008677bc02sc00i00", "r8169"),
        ("pci:v000010ECd00008125sv00001458sd0000E000bc02sc00i00", "r8169"),
        ("pci:v000014E4d00001686sv0000106Bsd00001686bc02sc00i00", "tg3"),
        ("pci:v00001D6Ad000007B1sv00001043sd00008741bc02sc00i00", "atlantic"),
        ("usb:v0BDAp8153d3100dc00dsc00dp00icFFiscFFip00in00", "r8152"),
        ("usb:v0B95p1790d0100dcFFdscFFdp00icFFiscFFip00in00", "ax88179_178a"),
        ("virtio:d00000001v00001AF4", "virtio_net"),
        ("vmbus:635161f83edfc546913ff2d2f965ed0e", "hv_netvsc"),
        ("pci:v0000144Dd0000A808sv0000144Dsd0000A801bc01sc08i02", "nvme"),
        ("pci:v00008086d0000A282sv00001043sd00008694bc01sc06i01", "ahci"),
        ("pci:v00008086d0000467Fsv00000000sd00000000bc01sc04i00", "vmd"),
        ("pci:v00001000d00000030sv000015ADsd00001976bc01sc00i00", "mptspi"),
        ("usb:v152Dp0578d0508dc00dsc00dp00ic08isc06ip62in00", "uas"),
        ("scsi:t-0x00", "sd_mod"),
        ("acpi:80860F14:INT33BB:", "sdhci_acpi"),
    ],
)
def test_modprobe_finds_the_driver_of_a_common_device(alias: str, module: str, image: Image) -> None:
    kmod = ["modprobe", "--dirname", str(image.root), "--set-version", image.release]
    found = subprocess.run([*kmod, "--resolve-alias", alias], capture_output=True, text=True, check=False)
    assert module in found.stdout.split()


def test_all_firmware_that_modules_name_is_in_the_image_but_the_data_centre_cards(image: Image) -> None:
    datacentre = {line.split("#")[0].strip() for line in (RECIPE / "firmware-datacentre.txt").read_text().splitlines()}
    missing = set()
    for path in sorted(image.modules.rglob("*.ko")):
        done = subprocess.run(["modinfo", "-F", "firmware", str(path)], capture_output=True, text=True, check=True)
        for name in done.stdout.split():
            there = list((image.root / "usr/lib/firmware").glob(name))
            if not there and path.stem not in datacentre:
                missing.add(name)
    assert missing <= UNPACKAGED


@pytest.mark.parametrize(
    "name",
    [
        "bnx2/bnx2-mips-09-6.2.1b.fw",
        "e100/d101m_ucode.bin",
        "isci/isci_firmware.bin",
        "ql2500_fw.bin",
        "rtl_nic/rtl8125b-2.fw",
        "rtl_nic/rtl8153b-2.fw",
        "rtl_nic/rtl8168h-2.fw",
        "tigon/tg3_tso.bin",
    ],
)
def test_firmware_of_common_cards_is_there_and_not_empty(name: str, image: Image) -> None:
    assert (image.root / "usr/lib/firmware" / name).stat().st_size > 0


def test_firmware_left_out_is_listed_with_its_driver(boot: Path, image: Image) -> None:
    for line in (boot / "firmware.txt").read_text().splitlines():
        state, name, drivers = line.split("\t")
        assert drivers
        assert (state == "in") == bool(list((image.root / "usr/lib/firmware").glob(name)))

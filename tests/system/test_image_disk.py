"""Which disks can be taken for images, from what lsblk says of them, and what root takes as a wish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadData, Conflict, NotFound, UsageError
from appliance.model import Task
from appliance.store import Store
from appliance.system import image_disk, mailbox
from appliance.system.image_disk import Disk
from tests.fakes.root import FakeRoot, fake_root

IMAGES = Path("/srv/diecast")
TB = 10**12


def node(name: str, **more: Any) -> dict[str, Any]:
    usual = {"type": "disk", "size": TB, "ro": False, "model": "Acme  X ", "serial": "S1", "mountpoints": [None]}
    return {"name": name, **usual, **more}


def part(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "part", "size": TB // 2, "mountpoints": [None], **more}


def judge(*nodes: dict[str, Any]) -> list[Disk]:
    return list(image_disk.judged({"blockdevices": list(nodes)}, IMAGES))


def test_an_empty_disk_can_be_taken_and_says_who_it_is() -> None:
    (disk,) = judge(node("sdb"))
    assert (disk.obstacle, disk.contents, str(disk.path)) == ("", (), "/dev/sdb")
    assert disk.identity == f"Acme X|S1||{TB}"
    (nameless,) = judge(node("vdb", model=None, serial=None))
    assert nameless.identity == f"|||vdb|{TB}"


def test_what_is_on_a_disk_is_told_part_by_part() -> None:
    (disk,) = judge(
        node("sdb", pttype="gpt", children=[part("sdb1", fstype="ntfs", label="Data"), part("sdb2", size=7)])
    )
    assert disk.contents == (
        "sdb: partition table gpt",
        "sdb1: ntfs Data",
        "sdb2: 7 bytes of unknown content",
    )
    assert disk.obstacle == ""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"children": [part("sdb1", mountpoints=["/boot/efi"]), part("sdb2", mountpoints=["/"])]}, "holds the system."),
        ({"children": [part("sdb1", mountpoints=["[SWAP]"])]}, "holds the system."),
        ({"mountpoints": ["/srv/diecast"]}, "holds the images already."),
        ({"children": [part("sdb1", mountpoints=["/media/usb"])]}, "is in use: /media/usb is on it."),
        (
            {"children": [part("sdb1", fstype="crypto_LUKS", children=[{"name": "vault", "type": "crypt"}])]},
            "is in use by vault.",
        ),
        ({"children": [part("sdb1", fstype="LVM2_member")]}, "is a part of LVM: sdb1."),
        ({"fstype": "linux_raid_member", "children": [{"name": "md0", "type": "raid1"}]}, "is a part of RAID: sdb."),
        ({"fstype": "zfs_member"}, "is a part of ZFS: sdb."),
        ({"fstype": "ext4", "label": "diecast-backup"}, "holds backups."),
        ({"ro": True}, "is read-only."),
        ({"size": 9_000_000_000}, "is smaller than 10 GB."),
    ],
)
def test_a_disk_that_is_needed_or_unfit_is_not_taken(more: dict[str, Any], said: str) -> None:
    (disk,) = judge(node("sdb", **more))
    assert disk.obstacle == f"sdb {said}"
    with pytest.raises(Conflict):
        image_disk.named([disk], "sdb")


def test_what_is_no_disk_is_not_listed() -> None:
    others = [node("zram0"), node("loop0", type="loop"), node("sr0", type="rom"), node("sdc", size=0)]
    assert judge(*others) == []


def test_a_disk_is_named_by_its_device_or_its_number() -> None:
    found = judge(node("sda", serial="A"), node("sdb", serial="B"))
    for name in ("sdb", "/dev/sdb", "B"):
        assert image_disk.named(found, name).name == "sdb"
    for name in ("sdc", "", "/dev/"):
        with pytest.raises(NotFound):
            image_disk.named(found, name)


def test_the_machine_itself_is_listed() -> None:
    assert image_disk.disks(IMAGES) == list(image_disk.judged(image_disk.listed(), IMAGES))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRoot]:
    with fake_root(tmp_path, monkeypatch) as found:
        yield found


def test_what_is_on_it_is_lost_only_after_a_word(root: FakeRoot) -> None:
    (disk,) = judge(node("sdb", fstype="ext4", label="old"))
    with pytest.raises(UsageError, match="sdb is not empty: sdb: ext4 old"):
        image_disk.ask(root.run, disk, erase=False)
    assert root.begun == []
    number = image_disk.ask(root.run, disk, erase=True)
    assert root.begun == [image_disk.UNIT]
    wish = image_disk.parse(root.wishes[0])
    assert (wish.id, wish.identity, wish.contents) == (number, disk.identity, disk.contents)


def test_one_disk_is_taken_at_a_time(root: FakeRoot) -> None:
    root.holds = True
    (disk,) = judge(node("sdb"))
    image_disk.ask(root.run, disk, erase=False)
    while image_disk.state(root.run) is None:
        pass
    with pytest.raises(Conflict, match="is being made the image disk already"):
        image_disk.ask(root.run, disk, erase=False)


def test_no_disk_is_taken_while_a_pc_is_at_work(tmp_path: Path) -> None:
    with Store.open(tmp_path / "x.sqlite") as store:
        host = store.hosts.add("PC1", ["52:54:00:00:00:01"])
        task: Task = store.tasks.capture(host, "win11")
        image_disk.refuse_while_at_work(store.tasks.list(active_only=True))
        store.tasks.checked_in(task.id, "10.20.5.1", "52:54:00:00:00:01")
        with pytest.raises(Conflict, match=f"Task {task.id} is at work"):
            image_disk.refuse_while_at_work(store.tasks.list(active_only=True))


_json = st.none() | st.integers() | st.text(max_size=9) | st.lists(st.text(max_size=4) | st.integers(), max_size=3)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "disk", "identity", "contents"), _json)))
def test_whatever_stands_in_a_wish_is_taken_whole_or_refused(plain: dict[str, Any]) -> None:
    try:
        wish = image_disk.parse(plain)
    except BadData:
        return
    assert [wish.id, wish.disk, wish.identity, *wish.contents] == [
        plain["id"], plain["disk"], plain["identity"], *plain["contents"]
    ]  # fmt: skip


@pytest.mark.parametrize("plain", [{}, {"id": 1}, {"at_s": "x"}])
def test_a_report_that_is_none_says_nothing(root: FakeRoot, plain: dict[str, Any]) -> None:
    mailbox.report(root.run, image_disk.NAME, plain)
    assert image_disk.state(root.run) is None

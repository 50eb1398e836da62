"""Making, listing, verifying and pruning backups, on every kind of place."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from appliance.backup import plan, pool
from appliance.backup.places import Folder, Place, parse
from appliance.backup.remote import Remote
from appliance.backup.restore import restore
from appliance.backup.run import alone, run
from appliance.backup.verify import verify
from appliance.engine.chunk import chunk_id
from appliance.errors import BadData, Cancelled, Conflict, NoSpace, NotFound, Unavailable, UsageError
from appliance.store import Store
from tests.backup.conftest import NOON, Home, names
from tests.engine.test_chunkstore import plain

MIB = 1 << 20


def test_a_backup_holds_store_settings_and_images_and_is_whole(box: Home, place: Place, disk: Path) -> None:
    id = box.image("win11", 1, 2, 3)
    report = box.back_up(place)
    top = disk / "diecast-backup"
    assert sorted(os.listdir(top)) == ["20261123T120000Z", "chunks", "versions"]
    assert sorted(os.listdir(top / "20261123T120000Z")) == ["backup.json", "diecast.toml", "store.sqlite"]
    assert (report.new_chunks, report.backup.versions) == (3, (id,))
    verdict = verify(place, pool.choose(place, None), contents=True)
    assert (verdict.problems, verdict.chunks, verdict.read) == ((), 3, 3)
    assert (top / "20261123T120000Z" / "store.sqlite").stat().st_mode & 0o077 == 0
    assert top.stat().st_mode & 0o077 == 0


def test_a_second_backup_copies_only_what_lacks(box: Home, place: Place) -> None:
    box.image("win11", 1, 2, 3)
    box.back_up(place)
    box.image("win11", 1, 2, 4)
    report = box.back_up(place)
    assert (report.new_chunks, len(report.backup.versions)) == (1, 2)
    assert names(place) == ["20261123T120001Z", "20261123T120000Z"], "the same second gets a name of its own"


def test_old_backups_go_with_what_only_they_needed(box: Home, place: Place) -> None:
    old = box.image("old", 1, 2)
    box.back_up(place)
    box.store.hosts.remove("MASTER")
    box.store.images.remove("old")
    new = box.image("new", 2, 3)
    report = box.back_up(place, keep=1)
    assert (report.pruned, names(place)) == (("20261123T120000Z",), ["20261123T120001Z"])
    assert pool.held_versions(place) == {new} != {old}
    assert pool.held_chunks(place) == {chunk_id(plain(2)), chunk_id(plain(3))}
    assert verify(place, pool.choose(place, None), contents=True).ok


def test_nothing_is_pruned_from_the_pool_while_a_backup_that_stays_cannot_be_read(box: Home, disk: Path) -> None:
    place = Folder(disk)
    box.image("win11", 1)
    box.back_up(place)
    box.back_up(place)
    (disk / "diecast-backup" / "20261123T120001Z" / "backup.json").write_text("{")
    box.store.hosts.remove("MASTER")
    box.store.images.remove("win11")
    report = box.back_up(place, keep=2, images=False)
    assert "20261123T120001Z" in report.not_pruned
    assert pool.held_chunks(place) == {chunk_id(plain(1))}


@pytest.mark.lengthy
def test_what_an_interrupted_run_left_is_removed_and_its_chunks_are_used(box: Home, place: Place, disk: Path) -> None:
    box.image("win11", *range(600))
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        run(box.box, place, images=True, keep=7, now=NOON, cancelled=lambda: next(asked))
    held = len(pool.held_chunks(place))
    assert (held, names(place)) == (512, [])
    half = disk / "diecast-backup" / ".20261123T110000Z.new"
    half.mkdir()
    (half / "store.sqlite").write_bytes(b"half")
    assert box.back_up(place).new_chunks == 88
    assert not half.exists()
    assert verify(place, pool.choose(place, None), contents=True).ok


def test_a_file_that_was_not_written_to_its_end_is_never_there(box: Home, place: Place, disk: Path) -> None:
    place.make()
    with pytest.raises((Unavailable, OSError)):
        place.write([("chunks/aa/one", b"x" * 10), ("chunks/aa/two", disk / "not there")])
    assert "chunks/aa/two" not in place.files("chunks")
    pool.tidy(place)
    assert [name for name in place.entries("") if name.endswith(".new")] == []


@pytest.mark.parametrize("harm", ["flip", "missing chunk", "manifest", "store", "settings"])
def test_verify_names_what_is_wrong(box: Home, place: Place, disk: Path, harm: str) -> None:
    id = box.image("win11", 1, 2)
    box.back_up(place)
    top = disk / "diecast-backup"
    chunk = top / pool.chunk_name(chunk_id(plain(1)))
    target, sentence = {
        "flip": (chunk, "Its file is chunks/"),
        "missing chunk": (chunk, "is missing"),
        "manifest": (top / "versions" / id / "manifest.json", "is damaged"),
        "store": (top / "20261123T120000Z" / "store.sqlite", "is not what was written"),
        "settings": (top / "20261123T120000Z" / "diecast.toml", "is not what was written"),
    }[harm]
    if harm == "missing chunk":
        target.unlink()
    else:
        data = bytearray(target.read_bytes())
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
    verdict = verify(place, pool.choose(place, None), contents=True)
    assert [sentence in problem for problem in verdict.problems] == [True], verdict.problems


def test_a_damaged_version_is_left_out_and_named(box: Home, place: Place) -> None:
    good, bad = box.image("good", 1, 2), box.image("bad", 2, 3)
    box.chunks.path(chunk_id(plain(3))).unlink()
    report = box.back_up(place)
    assert (report.backup.versions, set(report.backup.lacking)) == ((good,), {bad})
    assert verify(place, report.backup, contents=True).ok


def test_an_image_that_is_removed_meanwhile_does_not_fail_the_backup(box: Home, disk: Path) -> None:
    doomed, kept = box.image("doomed", 1), box.image("kept", 2)

    class WhileRemoved(Folder):
        """Removes an image and its chunk when it is first asked for what it holds."""

        asked = False

        def files(self, folder: str) -> set[str]:
            if not WhileRemoved.asked:
                WhileRemoved.asked = True
                box.store.hosts.remove("MASTER")
                box.store.images.remove("doomed")
                box.chunks.path(chunk_id(plain(1))).unlink()
            return super().files(folder)

    report = box.back_up(WhileRemoved(disk))
    assert (report.backup.versions, report.backup.lacking) == ((kept,), {})
    assert doomed not in report.backup.versions


def test_without_images_only_store_and_settings_go(box: Home, place: Place) -> None:
    box.image("win11", 1)
    report = box.back_up(place, images=False)
    assert (report.backup.versions, pool.held_chunks(place)) == ((), set())
    assert verify(place, report.backup, contents=True).ok


def test_no_room_is_said_with_both_figures_before_anything_is_written(
    box: Home, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.image("win11", 1)
    monkeypatch.setattr(Folder, "room_bytes", lambda self: MIB)
    with pytest.raises(NoSpace, match=r"more bytes are needed and 1048576 are free"):
        box.back_up(Folder(disk))
    assert names(Folder(disk)) == []
    last = plan.last(box.store)
    assert last is not None
    assert (last.ok, last.good_at) == (False, None)


def test_a_folder_that_is_not_there_is_one_sentence(box: Home, place: Place, disk: Path) -> None:
    disk.rmdir()
    with pytest.raises(NotFound, match="not there"):
        box.back_up(place)


def test_a_disk_that_is_not_mounted_is_named(disk: Path, tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text(f"# comment\nUUID=1 / ext4 defaults 0 1\nUUID=2 {disk} ext4 noauto 0 2\n")
    (disk / "backups").mkdir()
    with pytest.raises(Unavailable, match=f"No disk is mounted at {disk}"):
        Folder(disk / "backups", fstab=fstab).check()
    fstab.write_text("")
    Folder(disk / "backups", fstab=fstab).check()


def test_an_empty_mount_point_on_the_systems_disk_is_refused() -> None:
    with pytest.raises(Unavailable, match="No disk is mounted at /media/no-such-disk"):
        Folder(Path("/media/no-such-disk")).check()


def test_backups_that_have_vanished_stop_the_run_until_told(box: Home, disk: Path) -> None:
    place = Folder(disk)
    box.back_up(place)
    (disk / "diecast-backup").rename(disk / "elsewhere")
    with pytest.raises(Unavailable, match="not mounted, or is another one"):
        box.back_up(place)
    assert box.back_up(place, first=True).backup.name in names(place)


def test_two_backups_do_not_run_at_once(box: Home, disk: Path) -> None:
    with alone(box.folder / "state"), pytest.raises(Conflict, match="running already"):
        box.back_up(Folder(disk))


def test_the_copy_of_the_store_is_consistent_while_services_write(box: Home, tmp_path: Path) -> None:
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            box.store.hosts.add(f"PC{number}", [f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            copy = tmp_path / f"copy{number}.sqlite"
            box.store.copy_to(copy)
            assert sorted(tmp_path.glob(f"{copy.name}*")) == [copy]
            with Store.open(copy) as opened:
                hosts = [host.name for host in opened.hosts.list()]
                assert hosts == [f"PC{n}" for n in range(1, len(hosts) + 1)]
    finally:
        over.set()
        writer.join()


def test_a_copy_that_was_harmed_is_found(box: Home, tmp_path: Path) -> None:
    from appliance.store import copying

    copy = tmp_path / "copy.sqlite"
    box.store.copy_to(copy)
    data = bytearray(copy.read_bytes())
    data[4096 * 2 : 4096 * 3] = os.urandom(4096)
    copy.write_bytes(data)
    with pytest.raises(BadData):
        copying.inspect(copy)


@pytest.mark.parametrize("text", ["usb", "-oProxyCommand=x:/y", "host:relative", "user@-x:/y", "", "a b:/c", "/a\nb"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_targets_are_folders_and_hosts() -> None:
    assert parse("/media/usb") == ("", "/media/usb")
    assert parse("backup@nas.lab:/srv/b c") == ("backup@nas.lab", "/srv/b c")


def test_a_folder_with_signs_that_a_shell_knows_is_a_folder(box: Home, tmp_path: Path, played_ssh: Path) -> None:
    odd = tmp_path / "it's $(touch harm) & more"
    odd.mkdir()
    place = Remote("nas", str(odd), program=str(played_ssh))
    assert verify(place, box.back_up(place).backup).ok
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("Host key verification failed.", "confirm its key: ssh nas"),
        ("root@nas: Permission denied (publickey).", "ssh-copy-id nas"),
        ("ssh: connect to host nas port 22: Connection refused", "See whether it is on"),
    ],
)
def test_what_ssh_says_is_told_with_a_remedy(tmp_path: Path, words: str, remedy: str) -> None:
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 255\n")
    program.chmod(0o755)
    with pytest.raises(Unavailable) as raised:
        Remote("nas", "/srv", program=str(program)).check()
    assert (words.rstrip(".") in raised.value.message, remedy in raised.value.hint) == (True, True)


def test_a_key_that_sshd_does_not_know_is_one_sentence(disk: Path, sshd: Path, tmp_path: Path) -> None:
    (tmp_path / "keys" / "authorized").write_text("")
    with pytest.raises(Unavailable, match="cannot be reached by SSH") as raised:
        Remote("127.0.0.1", str(disk), program=str(sshd)).check()
    assert "ssh-copy-id 127.0.0.1" in raised.value.hint


@pytest.mark.lengthy
def test_a_real_ssh_server_takes_backups_prunes_them_and_gives_them_back(box: Home, sshd: Path, disk: Path) -> None:
    place = Remote("127.0.0.1", str(disk), program=str(sshd))
    id = box.image("win11", 1, 2)
    box.back_up(place)
    assert box.back_up(place, keep=1).pruned == ("20261123T120000Z",)
    assert verify(place, pool.choose(place, None), contents=True).ok
    box.store.close()
    box.chunks.path(chunk_id(plain(1))).unlink()
    done = restore(place, pool.choose(place, None), box.box.settings, box.config_path, now=NOON)
    assert (done.chunks, box.chunks.verify(id).ok) == (1, True)

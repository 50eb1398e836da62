"""Images at the command line: list, show, verify, remove."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from appliance.engine.chunkstore import ChunkStore
from appliance.engine.manifest import Manifest
from appliance.model import ImageVersion
from appliance.store import Store
from tests.cli.conftest import MAC1, Diecast, commit, version
from tests.engine.kit import captured

MIB = 1 << 20


@pytest.fixture
def chunks(config: Path) -> ChunkStore:
    return ChunkStore(config.parent / "images")


@pytest.fixture
def real(chunks: ChunkStore, store: Store, tmp_path: Path) -> ImageVersion:
    """`win11@1` with 3 MiB of content in the image store."""
    disk = tmp_path / "disk"
    disk.write_bytes(os.urandom(3 * MIB))
    made, result = captured(chunks, disk)
    manifest = Manifest.parse(result.manifest)
    facts = dataclasses.replace(version(), disk_bytes=3 * MIB, used_bytes=manifest.used_bytes, chunks=manifest.chunks)
    commit(store, dataclasses.replace(facts, id=made))
    return store.images.resolve("win11")


def chunk_files(chunks: ChunkStore) -> list[Path]:
    return sorted(path for path in chunks.chunks.rglob("*") if path.is_file())


def make_old(chunks: ChunkStore) -> None:
    """As if the capture had been long ago: what is younger than an hour is never collected."""
    for path in chunks.root.rglob("*"):
        os.utime(path, (1, 1))


def test_no_image_says_how_to_make_one(diecast: Diecast) -> None:
    assert diecast("image", "list").out.endswith("diecast capture HOST --image NAME\n")
    assert diecast("image", "list", "--json").json == []
    said = diecast("image", "list", "linux")
    assert (said.status, "There is no image 'linux'." in said.err) == (66, True)


def test_versions_are_listed_newest_first_within_80_columns(diecast: Diecast, store: Store) -> None:
    commit(store, version("a"))
    commit(store, version("b"))
    commit(store, version("c", "linux-with-a-long-name"), "ANOTHER-MASTER")
    rows = diecast("image", "list").out.splitlines()
    assert rows[0].split() == ["VERSION", "CAPTURED", "FROM", "DISK", "USED", "STORED", "NEW"]
    assert [row.split()[0].split("@")[0][:5] for row in rows[1:]] == ["linux", "win11", "win11"]
    assert "18.3 GB" in rows[2]
    assert max(map(len, rows)) <= 100
    assert [row["number"] for row in diecast("image", "list", "win11", "--json").json] == [2, 1]


def test_a_version_is_shown_with_its_parts_and_who_holds_it(diecast: Diecast, real: ImageVersion) -> None:
    text = diecast("image", "show", "win11").out
    for part in ("Version:  win11@1", f"Id:       {real.id}", "On:       MASTER"):
        assert part in text.splitlines()
    assert "PART" in text
    data = diecast("image", "show", "win11@1", "--json").json
    assert data["hosts"] == ["MASTER"]
    assert sum(region["used_bytes"] for region in data["regions"]) == real.used_bytes
    assert diecast("image", "show", "win11@2").status == 66


def test_a_sound_image_is_verified(diecast: Diecast, real: ImageVersion) -> None:
    said = diecast("image", "verify", "win11")
    assert said.status == 0
    assert f"win11@1: every chunk is as it was captured ({real.chunks} chunks, 3.1 MB)." in said.out
    assert diecast("image", "verify", "--all", "--json").json[0]["ok"] is True


def test_a_damaged_and_a_missing_chunk_are_named_and_the_status_says_so(
    diecast: Diecast, real: ImageVersion, chunks: ChunkStore
) -> None:
    damaged, missing, *_ = chunk_files(chunks)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    missing.unlink()
    said = diecast("image", "verify", "win11@1")
    assert said.status == 65
    assert "win11@1 is DAMAGED: 2 faults." in said.out
    for path in (damaged, missing):
        assert path.name[:12] in said.out
    assert said.err.startswith("diecast: win11@1 cannot be trusted.")
    assert diecast("image", "verify", "--all", "--json").json[0]["bad"] == sorted([damaged.name, missing.name])


def test_the_remedy_for_a_damaged_chunk_heals_the_version(
    diecast: Diecast, real: ImageVersion, chunks: ChunkStore, tmp_path: Path
) -> None:
    damaged = chunk_files(chunks)[0]
    damaged.write_bytes(b"damaged")
    assert diecast("image", "verify", "win11").status == 65
    damaged.unlink()
    captured(chunks, tmp_path / "disk")
    assert diecast("image", "verify", "win11").status == 0


def test_a_version_whose_folder_is_gone_does_not_keep_others_from_being_verified(
    diecast: Diecast, store: Store, real: ImageVersion
) -> None:
    commit(store, version("f", "ghost"))
    said = diecast("image", "verify", "--all")
    assert said.status == 65
    assert "ghost@1 is DAMAGED" in said.out
    assert "win11@1: every chunk is as it was captured" in said.out


@pytest.mark.parametrize("words", [("verify",), ("verify", "--all", "win11")])
def test_what_to_verify_must_be_said_once(diecast: Diecast, words: tuple[str, ...]) -> None:
    assert diecast("image", *words).status == 64


def test_removing_an_image_frees_its_old_chunks(diecast: Diecast, real: ImageVersion, chunks: ChunkStore) -> None:
    files = chunk_files(chunks)
    make_old(chunks)
    chunks.collect({real.id}, set())  # the scheduler's: it lets go of what the capture had pinned
    said = diecast("image", "remove", "win11")
    assert said.status == 0
    assert said.out.startswith(f"Removed win11@1.\n{len(files)} chunks freed, 3.1 MB.")
    assert chunk_files(chunks) == []
    assert diecast("image", "list", "--json").json == []
    assert diecast("image", "remove", "win11").status == 66


def test_removing_a_version_leaves_what_others_need(
    diecast: Diecast, store: Store, real: ImageVersion, chunks: ChunkStore
) -> None:
    commit(store, dataclasses.replace(version(image="twin"), id=real.id))
    make_old(chunks)
    chunks.collect({real.id}, set())
    assert "0 chunks freed" in diecast("image", "remove", "twin@1").out
    assert diecast("image", "verify", "win11").status == 0


def test_an_image_in_use_is_not_removed(diecast: Diecast, store: Store, real: ImageVersion) -> None:
    store.hosts.add("PC1", [MAC1])
    diecast("deploy", "win11", "PC1", "--yes")
    for name in ("win11", "win11@1"):
        said = diecast("image", "remove", name, "--yes")
        assert (said.status, "is deploying it to PC1." in said.err) == (75, True)


def test_at_a_terminal_it_is_asked_before_anything_is_removed(
    diecast: Diecast, store: Store, real: ImageVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.cli.context.Context.can_ask", property(lambda _: True))
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert diecast("image", "remove", "win11").status == 130
    assert store.images.live_version_ids() == {real.id}


def test_a_deploy_warns_by_the_smallest_disk_that_the_manifest_allows(
    diecast: Diecast, store: Store, real: ImageVersion
) -> None:
    host = store.hosts.add("PC1", [MAC1])
    store.hosts.save_inventory(host.id, {"disks": [{"path": "/dev/sda", "size_bytes": MIB}]})
    assert "needs a disk of 3.1 MB, but PC1 has 1.0 MB" in diecast("deploy", "win11", "PC1", "--yes").err


def test_what_a_removal_frees_is_told_beforehand_and_nothing_is_done(
    diecast: Diecast, store: Store, chunks: ChunkStore, real: ImageVersion
) -> None:
    sizes = sum(path.stat().st_size for path in chunk_files(chunks))
    data = diecast("image", "remove", "win11", "--dry-run", "--json").json
    assert data == {"versions": ["win11@1"], "chunks": len(chunk_files(chunks)), "bytes": sizes}
    assert "Nothing was done." in diecast("image", "remove", "win11@1", "--dry-run").out
    assert store.images.resolve("win11").id == real.id
    assert diecast("image", "remove", "win11", "--json").status == 64


def test_content_that_another_image_holds_too_is_not_freed(
    diecast: Diecast, store: Store, chunks: ChunkStore, real: ImageVersion
) -> None:
    commit(store, dataclasses.replace(real, image_name="copy"), "SECOND")
    assert diecast("image", "remove", "win11", "--dry-run", "--json").json["bytes"] == 0
    usage = diecast("image", "usage", "--json").json
    assert [row["own_bytes"] for row in usage["versions"]] == [0, 0]


def test_usage_counts_shared_chunks_once(
    diecast: Diecast, store: Store, chunks: ChunkStore, real: ImageVersion, tmp_path: Path
) -> None:
    disk = tmp_path / "disk2"
    disk.write_bytes((tmp_path / "disk").read_bytes()[:-MIB] + os.urandom(MIB))
    made, _result = captured(chunks, disk)
    commit(store, dataclasses.replace(real, id=made))
    usage = diecast("image", "usage", "--json").json
    newest, oldest = usage["versions"]
    assert (newest["version"], oldest["version"]) == ("win11@2", "win11@1")
    assert usage["stored_bytes"] == sum(path.stat().st_size for path in chunk_files(chunks))
    assert 0 < newest["own_bytes"] < usage["stored_bytes"] / 2
    assert oldest["own_bytes"] == diecast("image", "remove", "win11@1", "--dry-run", "--json").json["bytes"]
    assert usage["images"] == [
        {"image": "win11", "stored_bytes": usage["stored_bytes"], "own_bytes": usage["stored_bytes"]}
    ]
    assert "without sharing it would be" in diecast("image", "usage").out


def test_a_program_can_follow_a_verification(diecast: Diecast, real: ImageVersion) -> None:
    said = diecast("image", "verify", "win11", "--json", "--progress")
    counts = [tuple(map(int, line.split())) for line in said.err.splitlines()]
    assert counts
    assert counts[-1][0] == counts[-1][1] == said.json[0]["chunks"]


def test_notes_of_an_image_and_of_a_version_are_kept(diecast: Diecast, store: Store, win11: ImageVersion) -> None:
    assert diecast("image", "edit", "win11", "--notes", "room B204").status == 0
    assert diecast("image", "edit", "win11@1", "--notes", "old driver").out == "Kept the notes on win11@1.\n"
    assert (store.images.get("win11").notes, store.images.resolve("win11").notes) == ("room B204", "old driver")
    assert [event.detail for event in store.audit.list(2)] == ["win11@1: notes", "win11: notes"]
    assert diecast("image", "edit", "linux", "--notes", "x").status == 66
    assert diecast("image", "edit", "win11").status == 64

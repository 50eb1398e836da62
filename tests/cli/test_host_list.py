"""`host export` and `host import`."""

from __future__ import annotations

from pathlib import Path

from appliance.store import Store
from tests.cli.conftest import MAC1, MAC2, Diecast


def test_lists_of_hosts_go_out_and_come_in(diecast: Diecast, store: Store, tmp_path: Path) -> None:
    store.hosts.add("PC1", [MAC1], notes="old")
    target = tmp_path / "hosts.csv"
    said = diecast("host", "export", "--output", str(target))
    assert (said.out, said.err) == ("", f"Wrote 1 PC to {target}.\n")
    assert target.read_text() == diecast("host", "export").out
    target.write_text(f"name,macs,room,notes,colour\nPC1,{MAC1},,new,\nPC2,{MAC2},B204,,\nPC3,{MAC1},,,\n")
    said = diecast("host", "import", str(target), "--dry-run")
    assert said.status == 65
    assert said.err == "Columns that mean nothing here: colour.\n"
    assert said.out.splitlines() == [
        "Line 2: PC1 refused: PC1 is known already with another notes. Add --update to change it.",
        "Line 3: PC2 added",
        f"Line 4: PC3 refused: {MAC1} belongs to host PC1 already. To rename that: diecast host edit PC1 --name",
        "Nothing was changed; it would be: 1 added, 2 refused.",
    ]
    assert len(store.hosts.list()) == 1
    assert diecast("host", "import", str(target), "--update").status == 65
    assert (store.hosts.get("PC1").notes, store.hosts.get("PC2").room) == ("new", "B204")
    (event,) = store.audit.list()
    assert (event.action, event.detail) == ("host import", f"{target}: 1 added, 1 changed, 1 refused")
    target.write_text(f"name,macs\nPC1,{MAC1}\n")
    said = diecast("host", "import", str(target), "--json")
    assert (said.status, said.json) == (0, [{"line": 2, "host": "PC1", "action": "unchanged", "why": ""}])
    assert diecast("host", "export", "--room", "B204").out.count("\n") == 2


def test_fogs_list_says_what_is_not_taken(diecast: Diecast, store: Store, tmp_path: Path) -> None:
    target = tmp_path / "host_export.csv"
    target.write_text(f'"{MAC1}|{MAC2}","LAB-01","front","10.0.0.9","1"\n')
    said = diecast("host", "import", str(target))
    assert (said.status, said.out) == (0, "Line 1: LAB-01 added\n1 added.\n")
    assert "images, keys and passwords are not" in said.err
    assert store.hosts.get("LAB-01").macs == (MAC1, MAC2)


def test_what_is_no_list_or_no_file_is_a_sentence(diecast: Diecast, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\0\1\2")
    said = diecast("host", "import", str(tmp_path / "x"))
    assert (said.status, "The file is no text." in said.err) == (65, True)
    said = diecast("host", "import", str(tmp_path / "y"))
    assert (said.status, "There is no file" in said.err) == (66, True)
    said = diecast("host", "import", str(tmp_path))
    assert (said.status, "cannot be read" in said.err) == (69, True)
    said = diecast("host", "export", "--output", str(tmp_path))
    assert (said.status, "cannot be written" in said.err) == (69, True)

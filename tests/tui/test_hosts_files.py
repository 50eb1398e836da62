"""Lists of hosts in files: what an import would do is seen before it is done."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.events import Role
from appliance.store import Store
from appliance.tui.screens import hosts_files
from tests.tui.kit import LARGE, Seat, console

LIST = """\
name,macs,room,address,notes
new-01,52:54:00:cc:00:01,Attic,10.20.4.31,first
lab-01,52:54:00:aa:01:01,B204,,moved
lab-02,52:54:00:aa:01:02,B204,,
lab-03,52:54:00:aa:01:04,B204,,
bad name,52:54:00:cc:00:02,,,
"""


@pytest.fixture(autouse=True)
def no_path_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hosts_files, "_last_path", str(tmp_path / "hosts.csv"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.csv"
    path.write_text(LIST, encoding="utf-8")
    return path


def rows(text: str) -> str:
    """What a box on the screen says, line breaks as blanks."""
    inside = [line.split("│", 1)[1].rsplit("│", 1)[0] for line in text.splitlines() if line.count("│") > 1]
    return " ".join(" ".join(inside).split())


async def begin(seat: Seat, *, update: bool = True) -> None:
    """Read the file that is offered."""
    await seat.press("2", "i", *([] if update else ["down", "right"]), "enter")


async def test_nothing_is_written_before_every_row_was_shown(store: Store, file: Path) -> None:
    before = store.hosts.list()
    async with console(store, size=LARGE) as seat:
        await begin(seat)
        assert "1 to add   1 to change   1 as they are   2 refused" in seat.text()
        assert "● add" in seat.line_with("new-01")
        assert "▸ change" in seat.line_with("lab-01")
        assert "Notes" in seat.line_with("lab-01")
        assert "52:54:00:aa:01:04 belongs to host lab-04 already." in seat.line_with("lab-03")
        assert "'bad name' cannot name a host." in seat.line_with("bad name")
        await seat.press("end", "enter")
        assert "beginning and ending with a letter or digit." in rows(seat.text())
        await seat.press("escape")
        await seat.press("escape")
    assert store.hosts.list() == before
    assert store.audit.list() == []


async def test_what_was_shown_is_written_row_by_row_and_told(store: Store, file: Path) -> None:
    async with console(store, size=LARGE) as seat:
        await begin(seat)
        assert "t Write" in seat.lines()[-1]
        await seat.press("t")
        assert "1 added   1 changed   1 as they were   2 refused" in seat.text()
        assert "● added" in seat.line_with("new-01")
        assert "t Write" not in seat.lines()[-1]
        await seat.press("t")
    assert (store.hosts.get("new-01").room, store.hosts.get("lab-01").notes) == ("Attic", "moved")
    assert [item.address for item in store.leases.reservations()] == [IPv4Address("10.20.4.31")]
    trail = [event.detail for event in store.audit.list() if event.action == "host import"]
    assert trail == [f"{file}: 1 added, 1 changed, 2 refused, 1 unchanged"]


async def test_known_hosts_are_left_alone_when_that_is_wanted(store: Store, file: Path) -> None:
    async with console(store, size=LARGE) as seat:
        await begin(seat, update=False)
        assert "lab-01 is known already with another notes" in seat.line_with("lab-01")
        await seat.press("t")
    assert store.hosts.get("lab-01").notes == ""


async def test_refused_rows_alone_can_be_looked_at(store: Store, file: Path) -> None:
    async with console(store) as seat:
        await begin(seat)
        await seat.press("u")
        assert "new-01" not in seat.text()
        assert "bad name" in seat.text()
        await seat.press("u", "slash", *"new", "enter")
        assert "new-01" in seat.text()
        assert "bad name" not in seat.text()


async def test_a_row_that_somebody_was_faster_with_is_refused_when_it_is_written(store: Store, file: Path) -> None:
    async with console(store, size=LARGE) as seat:
        await begin(seat)
        store.hosts.add("other", ["52:54:00:cc:00:01"])
        await seat.press("t")
        assert "belongs to host other already" in seat.line_with("new-01")
        assert "3 refused" in seat.text()


async def test_fogs_export_is_understood_and_said_to_be_one(store: Store, tmp_path: Path) -> None:
    (tmp_path / "hosts.csv").write_text('"52:54:00:cc:00:05","fog-pc","from FOG"\n', encoding="utf-8")
    async with console(store, size=LARGE) as seat:
        await begin(seat)
        assert "FOG's list" in seat.text()
        await seat.press("t")
    assert store.hosts.get("fog-pc").notes == "from FOG"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hosts.csv", "A whole path is needed"),
        ("/etc/shadow", "A whole path is needed"),
        ("/no/such.csv", "no file /no"),
    ],
)
async def test_a_file_that_is_not_there_or_is_no_list_is_refused_in_words(store: Store, text: str, words: str) -> None:
    async with console(store) as seat:
        await seat.press("2", "i", "end", "ctrl+u")
        await seat.type(text)
        await seat.press("enter")
        assert words in rows(seat.text())
        assert text in seat.text()


async def test_a_file_that_is_no_list_of_hosts_is_refused_in_words(store: Store, tmp_path: Path) -> None:
    (tmp_path / "hosts.csv").write_text("just a letter\n", encoding="utf-8")
    async with console(store) as seat:
        await begin(seat)
        assert "This is no list of hosts." in rows(seat.text())


async def test_all_hosts_are_exported_and_read_back_as_they_are(store: Store, tmp_path: Path) -> None:
    store.leases.reserve("52:54:00:aa:01:01", IPv4Address("10.20.4.9"))
    path = tmp_path / "hosts.csv"
    async with console(store) as seat:
        await seat.press("2", "o", "enter")
        assert "Wrote 22 hosts to" in seat.text()
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == 23
        assert lines[2].startswith("lab-01,52:54:00:aa:01:01,,B204,10.20.4.9,")
        await seat.press("i", "enter")
        assert "22 as they are" in seat.text()
    assert [(event.action, event.detail) for event in store.audit.list(1)] == [("host export", f"22 to {path}")]


async def test_marked_hosts_alone_are_exported_with_semicolons_for_a_spreadsheet(store: Store, tmp_path: Path) -> None:
    async with console(store) as seat:
        await seat.press("2", "down", "space", "space", "o", "down")
        assert "those marked: 2" in seat.text()
        await seat.press("down", "right", "enter")
    text = (tmp_path / "hosts.csv").read_text(encoding="utf-8-sig")
    assert [line.split(";")[0] for line in text.splitlines()] == ["name", "lab-01", "lab-02"]


async def test_those_shown_can_be_exported(store: Store, tmp_path: Path) -> None:
    async with console(store) as seat:
        await seat.press("2", "slash", *"b204", "enter", "o", "enter")
        assert "Wrote 16 hosts" in seat.text()


async def test_a_file_is_overwritten_only_after_a_yes(store: Store, file: Path) -> None:
    async with console(store) as seat:
        await seat.press("2", "o", "enter")
        assert "Overwrite this file?" in seat.text()
        await seat.press("escape")
        assert "There is such a file already." in rows(seat.text())
        assert file.read_text(encoding="utf-8") == LIST
        await seat.press("enter", "enter")
        assert "Wrote 22 hosts" in seat.text()
    assert file.read_text(encoding="utf-8").startswith("name,macs")


async def test_a_folder_that_is_not_there_is_said_beside_what_was_typed(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "o", "end", "ctrl+u")
        await seat.type("/no/such/folder.csv")
        await seat.press("enter")
        assert "/no/such/folder.csv cannot be written: No such file or directory." in rows(seat.text())


async def test_only_an_operator_writes_a_list_into_the_store(store: Store, file: Path) -> None:
    async with console(store, role=Role.OPERATOR) as seat:
        await begin(seat)
        seat.app.session.role = Role.VIEWER
        await seat.press("t")
        assert "may look, but change nothing" in seat.text()
    assert "new-01" not in [host.name for host in store.hosts.list()]

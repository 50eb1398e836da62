"""Rooms, reservations and operators at the command line."""

from __future__ import annotations

import io

import pytest

from appliance.events import Role
from appliance.model import ImageVersion
from appliance.store import Store
from tests.cli.conftest import MAC1, MAC2, Diecast

MAC9 = "52:54:00:aa:01:09"
PASSWORD = "correct horse"


@pytest.fixture
def two_pcs(store: Store) -> None:
    store.hosts.add("PC1", [MAC1])
    store.hosts.add("PC2", [MAC2])


# -- rooms ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_pcs")
def test_a_room_is_added_filled_shown_renamed_and_removed(diecast: Diecast, store: Store) -> None:
    assert diecast("room", "list").out.startswith("No room is known.")
    assert diecast("room", "add", "Salle 204", "--notes", "2e étage").out == "Added room Salle 204.\n"
    assert diecast("room", "assign", "salle 204", "PC1", "PC2").out == "Put 2 PCs into room Salle 204.\n"
    assert diecast("room", "assign", "Salle 204", "PC1").out == "Put 0 PCs into room Salle 204.\n"
    assert diecast("room", "list").out.splitlines() == ["ROOM       PCS  NOTES", "Salle 204    2  2e étage"]
    shown = diecast("room", "show", "Salle 204").out.splitlines()
    assert shown[:3] == ["Room:  Salle 204", "PCs:   2", "Notes: 2e étage"]
    assert [line.split()[0] for line in shown[5:]] == ["PC1", "PC2"]
    assert diecast("room", "edit", "Salle 204", "--name", "B204", "--notes", "").out == "Changed room B204.\n"
    assert (store.rooms.get("B204").notes, store.hosts.get("PC1").room) == ("", "B204")
    assert diecast("room", "assign", "--none", "PC1").out == "Put 1 PC out of their rooms.\n"
    assert [host["name"] for host in diecast("room", "show", "B204", "--json").json["hosts"]] == ["PC2"]
    assert diecast("room", "remove", "B204").out == "Removed room B204; its 1 PC stay, without a room.\n"
    assert store.hosts.get("PC2").room == ""
    assert [event.action for event in reversed(store.audit.list())] == [
        *("room add", "room assign", "room assign", "room edit", "room assign", "room remove"),
    ]


@pytest.mark.usefixtures("two_pcs")
def test_a_host_is_put_into_a_room_where_it_is_added_or_edited(diecast: Diecast, store: Store) -> None:
    store.rooms.add("B204")
    diecast("host", "add", "PC3", "--mac", MAC9, "--room", "b204")
    diecast("host", "edit", "PC1", "--room", "B204")
    listed = diecast("host", "list", "--room", "B204").out.splitlines()
    assert [line.split()[0] for line in listed] == ["NAME", "PC1", "PC3"]
    assert "Room:        B204" in diecast("host", "show", "PC3").out
    diecast("host", "edit", "PC1", "--room", "")
    assert store.hosts.get("PC1").room == ""
    store.rooms.add("Empty")
    assert diecast("host", "list", "--room", "Empty").out == "No PC stands in room Empty.\n"


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("room", "show", "X"), 66, "There is no room 'X'."),
        (("room", "add", "b204"), 75, "There is a room 'B204' already."),
        (("room", "add", " "), 64, "cannot name a room"),
        (("room", "edit", "B204"), 64, "Nothing is to be changed."),
        (("room", "assign", "B204"), 64, "No PC is named."),
        (("room", "assign", "X", "PC1"), 66, "There is no room 'X'."),
        (("room", "assign", "B204", "PC1", "PC9"), 66, "There is no host 'PC9'."),
        (("host", "list", "--room", "X"), 66, "There is no room 'X'."),
        (("host", "add", "PC3", "--mac", MAC9, "--room", "X"), 66, "There is no room 'X'."),
        (("host", "wake"), 64, "No PC is named."),
        (("host", "wake", "--room", "B204"), 64, "No PC is named."),
        (("host", "wake", "PC1", "PC9"), 66, "There is no host 'PC9'."),
        (("reservation", "add", "PC9", "10.20.4.9"), 66, "There is no host 'PC9'."),
        (("reservation", "add", "PC1", "10.20.4"), 64, "invalid IPv4 address value: '10.20.4'"),
        (("reservation", "remove", "PC1"), 66, f"No address is reserved for {MAC1}."),
        (("operator", "role", "paul", "admin"), 66, "There is no operator 'paul'."),
        (("operator", "remove", "paul"), 66, "There is no operator 'paul'."),
        (("operator", "add", "paul", "--role", "king", "--password-stdin"), 64, "invalid choice: 'king'"),
    ],
)
@pytest.mark.usefixtures("two_pcs")
def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(
    diecast: Diecast, store: Store, words: tuple[str, ...], status: int, sentence: str
) -> None:
    store.rooms.add("B204")
    before = store.data_version()
    said = diecast(*words)
    assert (said.status, said.out) == (status, "")
    assert sentence in said.err
    assert store.hosts.get("PC1").room == ""
    assert store.data_version() == before


# -- waking -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_pcs")
def test_pcs_are_woken_by_name_and_by_room_each_once(diecast: Diecast, store: Store) -> None:
    store.rooms.add("B204")
    store.rooms.assign("B204", ["PC1", "PC2"])
    assert diecast("host", "wake", "PC2", "--room", "B204").out == "Waking 2 PCs: PC2, PC1.\n"
    assert sorted((call.host_name, call.macs) for call in store.hosts.to_wake()) == [("PC1", (MAC1,)), ("PC2", (MAC2,))]
    assert store.audit.list()[0].detail == "PC2, PC1"


# -- reservations -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_pcs")
def test_an_address_is_reserved_for_a_host_or_a_mac_and_freed(diecast: Diecast, store: Store) -> None:
    assert diecast("reservation", "list").out == "No address is reserved.\n"
    assert diecast("reservation", "add", "PC1", "127.0.0.15").out == f"127.0.0.15 is reserved for {MAC1}.\n"
    assert diecast("reservation", "add", MAC9.upper(), "127.0.0.16").err == ""
    said = diecast("reservation", "add", "PC2", "10.9.9.9")
    assert "Warning: 10.9.9.9 is in none of the subnets of the settings" in said.err
    assert diecast("reservation", "add", "PC2", "127.0.0.15").status == 75
    rows = [line.split() for line in diecast("reservation", "list").out.splitlines()]
    assert rows[1:] == [["10.9.9.9", MAC2, "PC2"], ["127.0.0.15", MAC1, "PC1"], ["127.0.0.16", MAC9, "-"]]
    assert diecast("reservation", "list", "--json").json[1] == {"mac": MAC1, "address": "127.0.0.15", "host": "PC1"}
    assert diecast("reservation", "remove", "PC1", MAC9).status == 0
    assert [item.mac for item in store.leases.reservations()] == [MAC2]


# -- operators --------------------------------------------------------------------------------------------------------


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Standard input; what the test writes into it is read from the beginning."""
    text = io.StringIO()
    monkeypatch.setattr("sys.stdin", text)
    return text


def put(text: io.StringIO, line: str) -> None:
    text.seek(0)
    text.truncate()
    text.write(line)
    text.seek(0)


def test_operators_are_added_changed_and_removed(diecast: Diecast, store: Store, types: io.StringIO) -> None:
    assert "There is no operator" in diecast("operator", "list").out
    put(types, PASSWORD + "\n")
    assert diecast("operator", "add", "marie", "--password-stdin").out == "Added marie, admin.\n"
    put(types, "another one\r\n")
    assert diecast("operator", "add", "paul", "--password-stdin").out == "Added paul, operator.\n"
    found = store.operators.check("paul", "another one")
    assert found is not None
    assert diecast("operator", "role", "paul", "viewer").out == "paul is now viewer.\n"
    put(types, "a third one\n")
    assert diecast("operator", "password", "paul", "--password-stdin").out == "Changed the password of paul.\n"
    assert store.operators.check("paul", "another one") is None
    assert store.operators.check("paul", "a third one") is not None
    rows = [line.split()[:2] for line in diecast("operator", "list").out.splitlines()]
    assert rows == [["NAME", "ROLE"], ["marie", "admin"], ["paul", "viewer"]]
    assert diecast("operator", "language", "paul", "fr").out == "The console speaks fr to paul.\n"
    assert store.operators.get("paul").language == "fr"
    said = diecast("operator", "remove", "marie")
    assert (said.status, "At least one operator must be an admin." in said.err) == (75, True)
    assert diecast("operator", "remove", "paul").out == "Removed paul.\n"
    assert [one.role for one in store.operators.list()] == [Role.ADMIN]


def test_a_password_is_compared_with_an_admins_for_who_asks_on_his_behalf(
    diecast: Diecast, store: Store, types: io.StringIO
) -> None:
    store.operators.add("marie", Role.ADMIN, PASSWORD)
    store.operators.add("paul", Role.OPERATOR, "another one")
    put(types, PASSWORD + "\n")
    said = diecast("operator", "check", "--password-stdin")
    assert (said.status, said.out) == (0, "That is the password of marie, admin.\n")
    put(types, "another one")
    assert diecast("operator", "check", "--password-stdin").status == 77, "an operator is no admin"
    put(types, "another one")
    assert diecast("operator", "check", "paul", "--password-stdin").status == 0
    audit = diecast("audit").out
    assert "wrong password" in audit
    assert "another one" not in audit


def test_no_password_is_shown_recorded_or_taken_from_the_command_line(
    diecast: Diecast, store: Store, types: io.StringIO
) -> None:
    put(types, PASSWORD + "\n")
    said = diecast("operator", "add", "marie", "--password-stdin")
    seen = said.out + said.err + diecast("operator", "list", "--json").out + diecast("audit").out
    assert PASSWORD not in seen
    assert "argon" not in seen
    assert diecast("operator", "password", "marie", PASSWORD).status == 64
    assert diecast("operator", "add", "paul", "--password", PASSWORD).status == 64


@pytest.mark.parametrize(
    ("line", "sentence"), [("", "holds no password"), ("\n", "holds no password"), ("short\n", "has 5")]
)
def test_a_password_that_is_none_is_refused(
    diecast: Diecast, store: Store, types: io.StringIO, line: str, sentence: str
) -> None:
    put(types, line)
    said = diecast("operator", "add", "marie", "--password-stdin")
    assert (said.status, sentence in said.err) == (64, True)
    assert not store.operators.any()


def test_a_password_is_asked_for_twice_at_a_terminal(
    diecast: Diecast, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = diecast("operator", "add", "marie")
    assert (said.status, "There is no terminal to ask for the password at." in said.err) == (64, True)
    answers = iter([PASSWORD, "something else", PASSWORD, PASSWORD])
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr("appliance.cli.context.Context.can_ask", property(lambda _: True))
    monkeypatch.setattr("getpass.getpass", ask)
    said = diecast("operator", "add", "marie")
    assert (said.status, "The two are not the same" in said.err) == (64, True)
    assert diecast("operator", "add", "marie").status == 0
    assert asked == ["Password of marie: ", "Once more: "] * 2
    assert store.operators.check("marie", PASSWORD) is not None


# -- whole rooms ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_pcs")
def test_a_room_is_deployed_to_together_with_named_pcs(diecast: Diecast, store: Store, win11: ImageVersion) -> None:
    store.hosts.add("PC3", [MAC9])
    store.rooms.add("B204")
    assert diecast("deploy", "win11", "--room", "B204", "--yes").err.startswith("diecast: No PC stands in room B204.")
    store.rooms.assign("B204", ["PC1", "PC2"])
    assert diecast("deploy", "win11", "PC3", "PC1", "--room", "B204", "--yes").status == 0
    tasks = store.tasks.list(active_only=True)
    assert sorted(task.host_name for task in tasks) == ["PC1", "PC2", "PC3"]
    assert {task.version_id for task in tasks} == {win11.id}


@pytest.mark.usefixtures("two_pcs", "win11")
def test_a_room_with_one_busy_pc_is_not_deployed_to(diecast: Diecast, store: Store) -> None:
    store.rooms.add("B204")
    store.rooms.assign("B204", ["PC1", "PC2"])
    diecast("capture", "PC2", "--image", "lab")
    said = diecast("deploy", "win11", "--room", "B204", "--yes")
    assert (said.status, "PC2 is busy" in said.err) == (75, True)
    assert store.tasks.for_host(store.hosts.get("PC1").id) is None

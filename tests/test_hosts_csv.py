"""Lists of hosts: ours, FOG's with and without column names, and whatever a spreadsheet makes of them."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import hosts_csv
from appliance.errors import BadData
from appliance.events import LocalBoot, UefiLoader
from appliance.hosts_csv import COLUMNS, Kind, Row, read, write
from appliance.model import Host

MAC1, MAC2, MAC3 = "52:54:00:aa:01:01", "52:54:00:aa:01:02", "52:54:00:aa:01:03"
UUID1 = UUID("8d3f0b56-11c4-4f0e-9a77-0123456789ab")
HOSTS = [
    Host(1, "PC1", (MAC1, MAC2), UUID1, room="Étage 2; B204", notes='by the "window", left', disk="S5GX"),
    Host(2, "MASTER", (), UUID1, sealed=True, local_boot=LocalBoot.NO_ANSWER, uefi_loader=UefiLoader.IPXE),
    Host(3, "PC3", (MAC3,)),
]
SECRETS = ("S3cretADPass", "LEGACYPASS", "XXXXX-YYYYY-ZZZZZ", "PUBKEY", "SECTOK")

# What FOG 1.6 puts into its first row; 1.5 has the same columns up to `enforce` and no first row.
FOG_COLUMNS = re.findall(
    r"\w+",
    "primac name description ip imageID building createdTime deployed createdBy useAD ADDomain ADOU ADUser ADPass "
    "ADPassLegacy productKey printerLevel kernelArgs kernel kernelDevice init pending pub_key sec_tok sec_time "
    "pingstatus biosexit efiexit enforce token tokenlock associations",
)


def fog_cells(macs: str, name: str, **more: str) -> list[str]:
    """One host as FOG keeps it."""
    password, legacy, key, public, token = SECRETS
    usual = {"ip": "10.1.1.9", "imageID": "Windows 10", "createdTime": "2024-02-01 10:00:00", "createdBy": "fog"}
    usual |= {"useAD": "1", "ADDomain": "school.lan", "ADUser": "join", "ADPass": password, "ADPassLegacy": legacy}
    usual |= {"productKey": key, "pub_key": public, "sec_tok": token, "pending": "0", "efiexit": "refind_efi"}
    values = usual | {"primac": macs, "name": name} | more
    return [values.get(column, "") for column in FOG_COLUMNS]


def fog_1_5(*rows: list[str]) -> bytes:
    """As ReportMaker writes it: everything in quotes, and quotes inside not doubled."""
    return "".join('"' + '","'.join(row[:29]) + '"\n' for row in rows).encode()


def fog_1_6(*rows: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([FOG_COLUMNS, *rows])
    return out.getvalue().encode()


def only(data: bytes) -> Row:
    (row,) = read(data).rows
    return row


# -- ours -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("excel", [False, True])
def test_what_is_written_is_read_back(excel: bool) -> None:
    sheet = read(write(HOSTS, {MAC2: IPv4Address("10.20.4.9")}, excel=excel))
    assert (sheet.kind, sheet.ignored) == (Kind.OWN, ())
    assert [(row.line, row.name, row.problem) for row in sheet.rows] == [
        (2, "PC1", ""),
        (3, "MASTER", ""),
        (4, "PC3", ""),
    ]
    first, second, third = (row.values for row in sheet.rows)
    assert first == {
        "macs": (MAC1, MAC2),
        "uuid": UUID1,
        "room": "Étage 2; B204",
        "address": IPv4Address("10.20.4.9"),
        "disk": "S5GX",
        "local_boot": LocalBoot.CHAIN,
        "uefi_loader": UefiLoader.SHIM,
        "sealed": False,
        "notes": 'by the "window", left',
    }
    assert (second["macs"], second["sealed"], second["uefi_loader"]) == ((), True, UefiLoader.IPXE)
    assert (third["uuid"], third["address"], third["room"]) == (None, None, "")


def test_the_list_for_a_spreadsheet_has_a_mark_and_semicolons() -> None:
    data = write(HOSTS, {}, excel=True)
    assert data.startswith(b"\xef\xbb\xbfname;macs;")
    assert b"\r\n" in data
    assert write(HOSTS, {}).startswith(b"name,macs,uuid,room,address,disk,local_boot,uefi_loader,sealed,notes\nPC1,")


def test_columns_may_be_few_in_any_order_and_in_any_case() -> None:
    sheet = read(b"Notes,MAC,Colour,Hostname\nhi,52-54-00-AA-01-01,red,PC1\n")
    assert sheet.ignored == ("colour",)
    assert sheet.rows == (Row(2, "PC1", {"notes": "hi", "macs": (MAC1,)}),)


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_what_spreadsheets_write_is_read(sign: str, encoding: str) -> None:
    text = f'name{sign}macs{sign}notes\r\nPC1{sign}{MAC1}{sign}"près de la fenêtre{sign} à gauche"\r\n'
    row = only(text.encode(encoding))
    assert row.values == {
        "macs": (MAC1,),
        "notes": f"près de la fenêtre{sign.strip()} à gauche",
    }


def test_excels_own_first_line_names_the_sign() -> None:
    row = only(b"sep=;\r\nname;macs\r\nPC1;52:54:00:aa:01:01\r\n")
    assert (row.line, row.values) == (3, {"macs": (MAC1,)})


@pytest.mark.parametrize("between", ["|", " | ", ", ", "; ", " ", "\n"])
def test_several_macs_stand_in_one_cell(between: str) -> None:
    text = f'name,macs\nPC1,"{MAC1}{between}{MAC2.upper()}{between}{MAC1}"\n'
    assert only(text.encode()).values["macs"] == (MAC1, MAC2)


def test_rows_are_counted_as_an_editor_counts_lines() -> None:
    data = b'name,uuid,notes\n\n,,\nPC1,,"two\nlines"\nPC2,x,\n'
    assert [(row.line, row.name, row.values.get("notes", row.problem)) for row in read(data).rows] == [
        (4, "PC1", "two lines"),
        (6, "PC2", "'x' is no UUID."),
    ]


@pytest.mark.parametrize(
    ("text", "sealed"), [("yes", True), ("Oui", True), ("1", True), ("no", False), ("FAUX", False)]
)
def test_a_choice_may_be_written_as_people_write_it(text: str, sealed: bool) -> None:
    row = only(f"name,macs,sealed,local_boot\nPC1,{MAC1},{text},No-Answer\n".encode())
    assert (row.values["sealed"], row.values["local_boot"]) == (sealed, LocalBoot.NO_ANSWER)


def test_an_empty_cell_empties_a_text_and_leaves_a_choice() -> None:
    row = only(b"name,macs,notes,room,address,uuid,sealed,local_boot,uefi_loader\nPC1,,,,,,,,\n")
    assert row.values == {"macs": (), "notes": "", "room": "", "address": None, "uuid": None}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f",{MAC1},,", "It names no host."),
        (f"a b,{MAC1},,", "'a b' cannot name a host."),
        ("PC1,52:54,,", "'52:54' is no MAC address."),
        (f"PC1,{MAC1},10.20.4,", "'10.20.4' is no IPv4 address."),
        (f"PC1,{MAC1},,maybe", "sealed is 'maybe', but must be yes or no."),
        (f"PC1,{MAC1},,yes,more", "It has more columns than the first row."),
    ],
)
def test_a_row_that_makes_no_sense_keeps_its_place_with_the_reason(row: str, problem: str) -> None:
    bad, good = read(f"name,macs,address,sealed\n{row}\nPC2,{MAC2},,\n".encode()).rows
    assert problem in bad.problem
    assert (bad.line, bad.values, good.problem) == (2, {}, "")


def test_too_long_a_room_or_text_is_refused() -> None:
    assert "cannot name a room" in only(f"name,room\nPC1,{'x' * 41}\n".encode()).problem
    assert "too long" in only(f"name,notes\nPC1,{'x' * 2001}\n".encode()).problem


# -- FOG --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write_fog", [fog_1_5, fog_1_6])
def test_fogs_export_is_read_with_and_without_column_names(write_fog: Any) -> None:
    first = fog_cells("52:54:00:AA:01:01|52-54-00-aa-01-02", "LAB-01", description="Front row", kernelDevice="/dev/sda")
    sheet = read(write_fog(first, fog_cells(MAC3, "LAB-02")))
    assert (sheet.kind, sheet.ignored) == (Kind.FOG, ())
    one, two = sheet.rows
    assert (one.name, one.values) == ("LAB-01", {"macs": (MAC1, MAC2), "notes": "Front row", "disk": "/dev/sda"})
    assert (two.name, two.values, two.problem) == ("LAB-02", {"macs": (MAC3,)}, "")
    assert not any(secret in repr(sheet) for secret in SECRETS), "secrets are not even read"
    assert "10.1.1.9" not in repr(sheet), "where it was last seen is no reservation"


def test_quotes_that_fog_1_5_does_not_double_shift_no_column() -> None:
    row = only(fog_1_5(fog_cells(MAC1, "LAB-01", description='the "old" one', kernelDevice="/dev/sda")))
    assert (row.values["disk"], row.problem) == ("/dev/sda", "")


def test_columns_of_fog_may_be_few_and_in_any_order() -> None:
    row = only(f'name,primac,associations\nLAB-01,{MAC1},"groups:Lab A|Lab B;location:B204"\n'.encode())
    assert row.values == {"macs": (MAC1,), "room": "B204"}


@pytest.mark.parametrize(
    ("cell", "room"),
    [
        ("", ""),
        ("groups:Lab A;snapins:7zip|Chrome", "Lab A"),
        ("groups:Lab A|Lab B", ""),
        ("snapins:7zip;location:B204", "B204"),
        (r"groups:Lab A\|Lab B;printers:x", "Lab A|Lab B"),
        (r"groups:Room 3\: Floor 2", "Room 3: Floor 2"),
        (r"groups:a\\;location:", "a\\"),
        ("nonsense", ""),
        (":;|\\", ""),
    ],
)
def test_the_room_is_fogs_location_or_its_only_group(cell: str, room: str) -> None:
    row = only(fog_1_6(fog_cells(MAC1, "LAB-01", associations=cell)))
    assert row.values.get("room", "") == room


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (fog_cells(MAC1, "LAB-01", pending="1"), "It still waits to be approved in FOG."),
        (fog_cells(MAC1, "LAB(01)"), "'LAB(01)' cannot name a host."),
        (fog_cells("", "LAB-01"), "It has no MAC address."),
        (fog_cells("52:54", "LAB-01"), "'52:54' is no MAC address."),
    ],
)
def test_a_host_of_fog_that_cannot_be_taken_says_why(cells: list[str], problem: str) -> None:
    assert problem in only(fog_1_6(cells)).problem


# -- what is no list --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The file is empty."),
        (b" \n\n", "The file is empty."),
        (b"hello\n", "This is no list of hosts."),
        (b"name\nPC1\n", "This is no list of hosts."),
        (b"vlan,port\n1,2\n", "This is no list of hosts."),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "The file is no text."),
        (b"name,macs\nPC1," + b"x" * 140_000, "Line 2 cannot be read"),
        (b"x" * (hosts_csv.MAX_BYTES + 1), "The file has more than 8 MB."),
        (b"name,macs\n" + b"a,b\n" * 20_000, "The file has more than 20000 rows."),
    ],
)
def test_what_is_no_list_of_hosts_is_refused_whole(data: bytes, said: str) -> None:
    with pytest.raises(BadData) as caught:
        read(data)
    assert said in str(caught.value)


def test_a_list_without_hosts_is_a_list() -> None:
    assert read(b"name,macs\n").rows == ()


def _sound(data: bytes) -> None:
    with contextlib.suppress(BadData):  # any other exception is the failure
        for row in read(data).rows:
            assert row.problem or row.name
            assert set(row.values) <= set(COLUMNS)


@given(st.binary())
def test_any_bytes_are_a_list_or_a_sentence(data: bytes) -> None:
    _sound(data)


_CELLS = st.one_of(
    st.sampled_from(
        [MAC1, "PC1", "primac", "name", "macs", "", '"', "yes", "10.0.0.1", str(UUID1), "groups:a;b", "1", ":", "\\"]
    ),
    st.text(max_size=12),
)


@given(
    st.sampled_from(
        [
            b"",
            b"\xef\xbb\xbf",
            b"\xff\xfe",
            b"sep=;\n",
            b"name,macs,uuid,sealed,room,address\n",
            b"primac;name\n",
            b"name,primac,associations\n",
        ]
    ),
    st.lists(st.lists(_CELLS, max_size=8), max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "cp1252", "utf-16-le"]),
)
def test_anything_that_looks_like_a_list_is_one_or_a_sentence(
    start: bytes, rows: list[list[str]], sign: str, encoding: str
) -> None:
    _sound(start + "\n".join(sign.join(row) for row in rows).encode(encoding, "replace"))


_names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,20}[A-Za-z0-9])?", fullmatch=True)
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_hosts = st.builds(
    Host,
    id=st.just(1),
    name=_names,
    macs=st.lists(st.integers(0, 2**48 - 1), max_size=3, unique=True).map(
        lambda numbers: tuple(":".join(f"{number:012x}"[i : i + 2] for i in range(0, 12, 2)) for number in numbers)
    ),
    uuid=st.one_of(st.none(), st.uuids()),
    sealed=st.booleans(),
    local_boot=st.sampled_from(LocalBoot),
    uefi_loader=st.sampled_from(UefiLoader),
    disk=_texts,
    notes=_texts,
    room=_texts.map(lambda text: hosts_csv.one_line(text)[:40].strip()),
)


@given(_hosts, st.booleans())
def test_any_host_survives_being_written_and_read(host: Host, excel: bool) -> None:
    row = only(write([host], {}, excel=excel))
    assert (row.problem, row.name) == ("", host.name)
    told = dict(row.values)
    assert told.pop("address") is None
    for column in ("disk", "notes"):
        assert told.pop(column) == hosts_csv.one_line(getattr(host, column))
    assert told == {column: getattr(host, column) for column in told}

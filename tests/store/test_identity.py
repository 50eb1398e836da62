"""Who a PC is: MACs, SMBIOS UUIDs, those that identify nobody, shared docks."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.store import identity


@pytest.mark.parametrize(
    "text",
    [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "11111111-1111-1111-1111-111111111111",
        "12345678-1234-5678-90ab-cddeefaabbcc",
    ],
)
def test_a_known_bad_uuid_identifies_nobody(text: str) -> None:
    assert identity.usable_uuid(UUID(text)) is None
    assert identity.usable_uuid(UUID(bytes_le=UUID(text).bytes)) is None


def test_every_bad_uuid_of_the_table_says_where_it_comes_from() -> None:
    assert all(reason for reason in identity.BAD_UUIDS.values())


@given(st.uuids())
def test_two_byte_orders_are_one_machine(uuid: UUID) -> None:
    swapped = UUID(bytes_le=uuid.bytes)
    assert identity.same_machine(uuid, swapped)
    assert identity.same_machine(swapped, uuid)
    assert set(identity.spellings(uuid)) == set(identity.spellings(swapped)) == {str(uuid), str(swapped)}


@given(st.uuids(version=4), st.uuids(version=4))
def test_two_random_uuids_are_two_machines(one: UUID, other: UUID) -> None:
    assert identity.same_machine(one, other) == (other.bytes in (one.bytes, one.bytes_le))
    assert identity.usable_uuid(one) == one


def test_a_dock_a_group_and_no_address_are_not_usable() -> None:
    docks = frozenset({"00:e0:4c:68:00:01"})
    assert identity.usable_mac("52:54:00:aa:01:01", docks)
    assert not identity.usable_mac("00:e0:4c:68:00:01", docks)
    assert not identity.usable_mac("01:00:5e:00:00:01", docks)
    assert not identity.usable_mac("00:00:00:00:00:00", docks)

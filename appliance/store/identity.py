"""What may identify a PC, and what never does.

A PC is known by its MACs and its SMBIOS UUID (SMBIOS 3.7 section 7.2.1). Both lie at times: boards leave the factory
with the same UUID, and the MAC of a USB dock or dongle belongs to whoever uses it today. A wrong identity would write
an image over the wrong disk, so a doubtful mark identifies nobody.

Order: (1) MACs that are not on the list of shared docks; (2) where these name a host, but a sound UUID names another
one, the UUID wins: the card or dock was moved; (3) a sound UUID alone, when exactly one host has it.
"""

from __future__ import annotations

from uuid import UUID

# UUIDs that firmware shows when nobody has set one. Compared in both byte orders (see `same_machine`).
BAD_UUIDS: dict[UUID, str] = {
    UUID("00000000-0000-0000-0000-000000000000"): "SMBIOS: no UUID present",
    UUID("ffffffff-ffff-ffff-ffff-ffffffffffff"): "SMBIOS: UUID may be set, but is not",
    UUID("03000200-0400-0500-0006-000700080009"): "AMI's default: many consumer boards",
    UUID("00020003-0004-0005-0006-000700080009"): "AMI's default, first three fields in the other byte order",
    UUID("12345678-1234-5678-90ab-cddeefaabbcc"): "placeholder of several small boards",
    UUID("12345678-1234-1234-1234-123456789abc"): "placeholder of several small boards",
    UUID("11111111-2222-3333-4444-555555555555"): "placeholder of several mini PCs",
    UUID("fefefefe-fefe-fefe-fefe-fefefefefefe"): "erased flash",
    UUID("00112233-4455-6677-8899-aabbccddeeff"): "placeholder from SMBIOS's own example",
    UUID("33221100-5544-7766-8899-aabbccddeeff"): "SMBIOS's own example in the other byte order",
    UUID("4c4c4544-0000-2010-8020-80c04f202020"): "Dell board without a service tag",
}

# Addresses that no card has.
_NO_CARD = {"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}


def _swapped(uuid: UUID) -> UUID:
    """The same 16 bytes with the first three fields in the other byte order."""
    return UUID(bytes_le=uuid.bytes)


def usable_uuid(uuid: UUID | None) -> UUID | None:
    """`uuid`, or None when it identifies nobody."""
    if uuid is None or uuid in BAD_UUIDS or _swapped(uuid) in BAD_UUIDS or len(set(uuid.bytes)) == 1:
        return None
    return uuid


def usable_mac(mac: str, dock_macs: frozenset[str]) -> bool:
    """Whether `mac` (normalised) may identify a host: a card's own address, and no shared dock's."""
    multicast = int(mac[:2], 16) & 1
    return not multicast and mac not in _NO_CARD and mac not in dock_macs


def spellings(uuid: UUID) -> tuple[str, ...]:
    """Both byte orders of `uuid` as text.

    SMBIOS before 2.6 left the order open, and option 97 (RFC 4578) carries whatever the firmware has, so firmware and
    kernel may show one PC's UUID in two orders.
    """
    return tuple(dict.fromkeys((str(uuid), str(_swapped(uuid)))))


def same_machine(one: UUID, other: UUID) -> bool:
    """Whether two UUIDs are one PC's, in whichever byte order."""
    return str(one) in spellings(other)

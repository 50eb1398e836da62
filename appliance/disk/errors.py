"""What can be wrong with a disk."""

from __future__ import annotations

from appliance.errors import BadData


class BadTable(BadData):
    """A partition table contradicts itself, its checksum or its disk."""

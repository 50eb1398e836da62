"""What can be wrong with an image, its chunks and its store."""

from __future__ import annotations

from appliance.errors import BadData, NotFound


class BadImage(BadData):
    """A manifest, index or table file is not of the format that `docs/image-format.md` says."""


class ChunkInvalid(BadData):
    """A chunk file is no zstd frame of our kind, or its content is not what its name says."""


class ChunkMissing(NotFound):
    """A chunk is not in the store."""


class MissingChunks(NotFound):
    """A version cannot be kept because chunks of it are not in the store. `ids` are some of them."""

    def __init__(self, message: str, *, hint: str = "", ids: tuple[bytes, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.ids = ids

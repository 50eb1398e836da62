"""A chunk: the plain content of one window, its id, and the zstd frame that carries it.

Rules: the id is the BLAKE3-256 of the plain bytes. A frame states its content size and ends with a checksum, stands
alone (no dictionary) and has nothing behind it. References: RFC 8878 (zstd), the BLAKE3 paper, docs/image-format.md.
"""

from __future__ import annotations

import threading

import zstandard
from blake3 import blake3

from appliance.engine.errors import ChunkInvalid

ID_BYTES = 32
MIN_WINDOW_BYTES = 64 << 10
MAX_WINDOW_BYTES = 4 << 20


def longest_frame(window_bytes: int) -> int:
    """Bytes of the longest frame of one window; anything longer is no frame of ours."""
    return window_bytes + window_bytes // 256 + 1024  # zstd's worst case adds 1/256 and a little (ZSTD_COMPRESSBOUND)


MAX_FRAME_BYTES = longest_frame(MAX_WINDOW_BYTES)

_local = threading.local()


def chunk_id(plain: bytes | bytearray | memoryview) -> bytes:
    """The 32 bytes that name `plain`."""
    return blake3(plain).digest()


def compress(plain: bytes | bytearray | memoryview, level: int = 3) -> bytes:
    """One zstd frame with content size and checksum. `level` is 1 to 19."""
    compressors: dict[int, zstandard.ZstdCompressor] | None = getattr(_local, "compressors", None)
    if compressors is None:
        compressors = _local.compressors = {}
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
    frame: bytes = compressors[level].compress(plain)
    return frame


def decompress(frame: bytes | bytearray, what: str = "a chunk", *, limit_bytes: int = MAX_WINDOW_BYTES) -> bytes:
    """The plain bytes of `frame`, never more than `limit_bytes`. Raises `ChunkInvalid` naming `what`."""
    if len(frame) > MAX_FRAME_BYTES:
        raise ChunkInvalid(f"The frame of {what} has {len(frame)} bytes, over {MAX_FRAME_BYTES}.")
    try:
        said = zstandard.get_frame_parameters(frame)
        if not said.has_checksum or not 0 < said.content_size <= limit_bytes:
            size = "unknown" if said.content_size >= 1 << 63 else str(said.content_size)
            raise ChunkInvalid(
                f"The frame of {what} has content size {size} (1 to {limit_bytes} are allowed)"
                f" and {'a' if said.has_checksum else 'no'} checksum."
            )
        plain: bytes = _decompressor().decompress(frame, max_output_size=said.content_size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ChunkInvalid(f"The frame of {what} is broken: {error}.") from None
    if len(plain) != said.content_size:
        raise ChunkInvalid(f"The frame of {what} holds {len(plain)} bytes but says {said.content_size}.")
    return plain


def open_frame(frame: bytes | bytearray, id: bytes, *, limit_bytes: int = MAX_WINDOW_BYTES) -> bytes:
    """The plain bytes of `frame`, proven to be chunk `id`. Raises `ChunkInvalid`."""
    plain = decompress(frame, f"chunk {short(id)}", limit_bytes=limit_bytes)
    found = chunk_id(plain)
    if found != id:
        raise ChunkInvalid(f"Chunk {short(id)} hashes to {short(found)}.")
    return plain


def short(id: bytes) -> str:
    """The beginning of an id, for sentences."""
    return id.hex()[:12] + "…"


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        # A frame may ask for a window of its own size at most; hostile ones ask for gigabytes.
        _local.decompressor = zstandard.ZstdDecompressor(max_window_size=2 * MAX_WINDOW_BYTES)
    found: zstandard.ZstdDecompressor = _local.decompressor
    return found

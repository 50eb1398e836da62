"""What TFTP serves: the loaders of the boot folder's catalogue and GRUB's first configuration; nothing else.

Rules: a request's name is only ever a key of a table, never a path; a loader is read once, whole, through a descriptor
that follows no symlink, and served only while its bytes are those that the catalogue recorded when it was built.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import BadData, NotFound

log = logging.getLogger(__name__)

CATALOG = "catalog.json"  # in the boot folder: file name -> {"sha256": hex, "size": bytes, ...}
MAX_FILE_BYTES = 16 * 10**6  # the largest loader, Debian's signed GRUB, has under 3 MB

# Files of the catalogue that firmware or a loader fetches by TFTP. Kernel and initrd stand in it too, and are HTTP's.
LOADERS = frozenset(
    {
        "undionly.kpxe",  # BIOS: iPXE on the card's own UNDI driver
        "shimx64.efi",  # UEFI x64: Debian's signed shim
        "grubx64.efi",  # what shim asks for, beside itself
        "snponly.efi",  # UEFI x64: iPXE on the firmware's own driver
    }
)

# What GRUB asks for below its prefix; made of a template by `boot.script`.
GRUB_CONFIG = "grub/grub.cfg"

# The rest of what real clients ask for is answered "file not found", which is what they expect: shim's revocations.efi
# and mm*.efi, GRUB's x86_64-efi/{command,fs,crypto,terminal}.lst and grub.cfg-01-MAC, iPXE's autoexec.ipxe.


@dataclass(frozen=True, slots=True)
class _Cached:
    """A file's bytes, and what the file system said about it when they were read."""

    stamp: tuple[int, int, int, int]
    content: bytes
    sha256: str


def plain_name(requested: bytes) -> str:
    """The key for a requested name: `/grubx64.efi`, `.//grubx64.efi` and `\\grubx64.efi` are all `grubx64.efi`.

    A trailing 0xFF is dropped: some UEFI firmware reads DHCP's end marker as part of option 67.
    Never raises; bytes that are no ASCII become characters that no key has.
    """
    text = requested.rstrip(b"\xff").decode("latin-1").replace("\\", "/")
    return "/".join(part for part in text.split("/") if part not in ("", "."))


class Library:
    """The files that may be fetched, by name. Used by one thread."""

    def __init__(self, boot: Path, made: Mapping[str, bytes]) -> None:
        """Serve the loaders of the folder `boot`, and the contents `made` here, by name."""
        self._boot = boot
        self._made = dict(made)
        self._cache: dict[Path, _Cached] = {}

    def read(self, name: str) -> bytes:
        """The content of `name`, a result of `plain_name`.

        Raises `NotFound` when it is not served, `BadData` when it is not what the catalogue says.
        """
        if name in self._made:
            return self._made[name]
        entry = self._catalog().get(name) if name in LOADERS else None
        if entry is None:
            raise NotFound(f"There is no file '{name}'.")
        return self._load(self._boot / name, str(entry.get("sha256", "")))

    def names(self) -> list[str]:
        """What can be fetched now."""
        return [name for name in (*sorted(LOADERS), *self._made) if self._readable(name)]

    def _readable(self, name: str) -> bool:
        try:
            self.read(name)
        except (NotFound, BadData) as error:
            log.warning("%s is not served: %s", name, error)
            return False
        return True

    def _catalog(self) -> Mapping[str, Mapping[str, Any]]:
        path = self._boot / CATALOG
        try:
            data = json.loads(self._load(path, None))
        except ValueError as error:
            raise BadData(f"The catalogue {path} is no JSON: {error}.", hint="Run: make agent") from None
        if not isinstance(data, dict):
            raise BadData(f"The catalogue {path} is no table of files.", hint="Run: make agent")
        return {name: entry for name, entry in data.items() if isinstance(entry, dict)}

    def _load(self, path: Path, sha256: str | None) -> bytes:
        """The bytes of a regular file, which must have this digest if one is given."""
        file = self._read(path)
        if sha256 is not None and file.sha256 != sha256.lower():
            raise BadData(
                f"{path} has SHA-256 {file.sha256[:16]}…, but its catalogue says {sha256[:16]}….",
                hint="Run: make agent",
            )
        return file.content

    def _read(self, path: Path) -> _Cached:
        """A regular file, from memory while it has not changed."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise NotFound(f"{path} cannot be opened: {error.strerror}.", hint="Run: make agent") from None
        try:
            status = os.fstat(fd)
            stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._cache.get(path)
            if known is not None and known.stamp == stamp:
                return known
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                raise BadData(f"{path} is no regular file of at most {MAX_FILE_BYTES} bytes.")
            content = _read_all(fd)
        finally:
            os.close(fd)
        self._cache[path] = _Cached(stamp, content, hashlib.sha256(content).hexdigest())
        return self._cache[path]


def _read_all(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)

"""What the console asks of root, and what root says about it: small JSON files below `paths.run`.

| file | written by | read by |
|---|---|---|
| `wishes/<name>.json` | diecast: the console, the command line | root, which trusts nothing in it |
| `<name>.json` | root | everybody |

Root never opens the store: SQLite would follow links and make files in a folder that is somebody else's. The folder of
wishes belongs to diecast and to root's group, so that root needs no capability to read it (tmpfiles.d). Wishes do not
outlive a restart of the machine, and are in no backup.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Any

from appliance.errors import BadData, NotFound, Unavailable

WISHES = "wishes"
_MOST_BYTES = 16_384


def now_s() -> float:
    """Seconds since the machine started: the same for all processes, and nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def new_id() -> str:
    """Names one wish."""
    return secrets.token_hex(8)


def wish(run: Path, name: str, plain: dict[str, Any]) -> None:
    """Say what is wanted. Raises `Unavailable`."""
    _write(run / WISHES, name, plain)


def report(run: Path, name: str, plain: dict[str, Any]) -> None:
    """Root: say how it stands. Raises `Unavailable`."""
    _write(run, name, plain)


def _write(folder: Path, name: str, plain: dict[str, Any]) -> None:
    """As a whole or not at all; a file of our own making takes the name, whatever had it."""
    path = folder / f"{name}.json"
    temporary = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(file, "w", encoding="utf-8") as out:
                json.dump(plain, out)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise Unavailable(
            f"The file {path} cannot be written: {error.strerror}.",
            hint="Run it as root or as the user diecast, where the box's units are installed.",
        ) from error


def wished(run: Path, name: str) -> dict[str, Any]:
    """Root: what is wanted, as it stands there. Follows no link, waits for no pipe, reads no more than 16 KiB.

    Raises `NotFound` when nothing is, `BadData` for anything but one JSON object in a regular file.
    """
    return _read(run / WISHES, name, f"the wish {name}")


def reported(run: Path, name: str) -> dict[str, Any] | None:
    """How it stands; None when root has not said anything since the machine started, or nothing that can be read."""
    try:
        return _read(run, name, f"the report {name}")
    except (NotFound, BadData):
        return None


def forget(run: Path, name: str) -> None:
    """Take a wish back that nobody is to find any more."""
    with contextlib.suppress(OSError):
        (run / WISHES / f"{name}.json").unlink()


def _read(folder: Path, name: str, what: str) -> dict[str, Any]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        inside = os.open(folder, flags | os.O_DIRECTORY)
        try:
            file = os.open(f"{name}.json", flags | os.O_NONBLOCK, dir_fd=inside)
        finally:
            os.close(inside)
    except FileNotFoundError:
        raise NotFound(f"There is no file for {what}.", hint="Ask for it first.") from None
    except OSError as error:
        raise BadData(f"The file of {what} cannot be read: {error.strerror}.", hint="Ask for it again.") from error
    with os.fdopen(file, "rb") as source:
        info = os.fstat(file)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _MOST_BYTES:
            raise BadData(f"The file of {what} is no such file.", hint="Ask for it again.")
        raw = source.read(_MOST_BYTES)
    try:
        plain = json.loads(raw)
    except (ValueError, RecursionError):
        plain = None
    if not isinstance(plain, dict):
        raise BadData(f"The file of {what} is damaged.", hint="Ask for it again.")
    return plain

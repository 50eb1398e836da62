"""Logging into journald by its own protocol, so that a line carries fields: whom it is about, who logged it.

One datagram is one entry: `NAME=value` lines, or for a value with line feeds NAME, its length (64 bits, little-endian)
and the value. What is too large for a datagram goes as a sealed memory file. Over the package `systemd-python`: that is
a C extension that must fit the machine's libsystemd, for what is a page here.
References: systemd.io/JOURNAL_NATIVE_PROTOCOL, systemd.journal-fields(7), systemd.exec(5) ($JOURNAL_STREAM).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import struct
from array import array
from collections.abc import Mapping
from pathlib import Path

from appliance.system.about import current

SOCKET = Path("/run/systemd/journal/socket")
_LENGTH = struct.Struct("<Q")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL  # journald takes no other
_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)

# logging level -> syslog priority.
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


def priority_of(level: int) -> int:
    """The syslog priority of a logging level."""
    return next(number for least, number in _PRIORITIES if level >= least)


def journald_reads_stderr(environ: Mapping[str, str]) -> bool:
    """Whether `$JOURNAL_STREAM` names our standard error, and not what a parent had; then we are a unit's process."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def encode(fields: Mapping[str, str]) -> bytes:
    """One entry. Names are ours: capital letters, digits and underscores."""
    parts = []
    for name, text in fields.items():
        value = text.encode("utf-8", "replace")
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


class Journal:
    """The way to journald. Raises `OSError` when nobody listens."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(self._path)  # tells whether somebody is there; a restarted one has another socket
        except OSError:
            self._socket.close()
            raise

    def send(self, entry: bytes) -> None:
        """Send one entry."""
        try:
            self._socket.sendto(entry, self._path)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_file(entry)

    def _send_file(self, entry: bytes) -> None:
        handle = os.memfd_create("diecast-log", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        with os.fdopen(handle, "wb", buffering=0) as file:
            file.write(entry)
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [handle]))]
            self._socket.sendmsg([b""], ancillary, 0, self._path)

    def close(self) -> None:
        """Nothing is sent any more."""
        self._socket.close()


class JournalHandler(logging.Handler):
    """Sends records to journald; what cannot be sent is written to standard error, which journald reads as well."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            fields = {
                "MESSAGE": text,
                "PRIORITY": str(priority_of(record.levelno)),
                "SYSLOG_IDENTIFIER": "diecast",
                "LOGGER": record.name,
                **current().fields,
            }
            try:
                self._journal.send(encode(fields))
            except OSError:
                os.write(2, f"<{fields['PRIORITY']}>{text}\n".encode("utf-8", "replace"))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._journal.close()
        super().close()

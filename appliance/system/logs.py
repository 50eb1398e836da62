"""The services' log: read, searched and followed, from journald where systemd runs, else from a file of our own.

Rules: outside journald every `diecast serve` also writes `<paths.state>/log/diecast.log`; several may, so that each
line is one append and only the holder of the lock rotates. A line names the service by the module that logged it. What
does not begin like a line (a traceback) belongs to the one before it. Searching is for plain text in any case.
References: journalctl(1), systemd.journal-fields(7), sd-daemon(3).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from appliance.errors import Unavailable
from appliance.system import units
from appliance.system.about import FIELD_HOST, FIELD_TASK, About, current

MAX_BYTES = 5_000_000  # of one file
KEPT = 4  # older files beside it
_NAME = "diecast.log"
_POLL_S = 0.25

# Beginnings of our modules' names -> service; the first that fits. The others are named after nobody.
_MODULES: tuple[tuple[str, str], ...] = (
    ("dhcp", "dhcp"),
    ("tftp", "tftp"),
    ("nfs", "nfs"),
    ("scheduler", "scheduler"),
    ("ingest", "scheduler"),
    ("wake", "scheduler"),
    ("notify", "scheduler"),
    ("cast", "cast"),
    *((name, "http") for name in ("http", "boot_pages", "agent_calls", "image_calls", "metrics", "uploads")),
)
_PACKAGE = "appliance.services."

ANYTHING = About()

# Syslog priority, as journald stores it -> level.
_LEVELS = ("error", "error", "error", "error", "warning", "info", "info", "debug")
# Before the message, which begins with a logger's name, may stand whom it is about.
_LINE = re.compile(r"(\S+) (debug|info|warning|error) (\S+)(?: host=(\S+))?(?: task=([0-9]{1,18}))? (.*)")
# Names and options come from the network: none may begin a forged line or move a terminal's cursor.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 9}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One message; a traceback is part of its text, after line feeds."""

    at: datetime
    level: str  # debug | info | warning | error
    service: str  # empty: it is not known which
    text: str
    host: str = ""  # whom it is about, if that is known
    task: int | None = None


def service_of(logger: str) -> str:
    """The service that a logger of ours belongs to; empty for others."""
    module = logger.removeprefix(_PACKAGE)
    if module == logger:
        return ""
    return next((service for start, service in _MODULES if module.startswith(start)), "")


def file_of(state: Path) -> Path:
    """The log file below the folder `paths.state`."""
    return state / "log" / _NAME


class LogSource(Protocol):
    """Where lines come from."""

    def last(self, count: int, services: Sequence[str] = (), text: str = "", about: About = ANYTHING) -> list[LogLine]:
        """The last `count` lines of the named services (none: all) that have `text` in them, oldest first.

        The name of the host or the number of the task that a line is about is as good as a word in it. With `about`,
        only those that are about this host, this task, or both.
        """

    def follow(
        self, stop: Callable[[], bool], services: Sequence[str] = (), text: str = "", about: About = ANYTHING
    ) -> Iterator[LogLine | None]:
        """Lines as they are written, until `stop` says so; a None about four times a second, when there is none."""


def source(state: Path) -> LogSource:
    """The journal where systemd runs and has units of ours, else the file. Raises `Unavailable`."""
    if shutil.which("journalctl") and any(unit.installed for unit in units.list_units()):
        return Journal()
    return LogFile(file_of(state))


def _fits(line: LogLine, services: Sequence[str], text: str, about: About) -> bool:
    ours = not services or line.service in services
    wanted = text.lower()
    has_it = wanted in line.text.lower() or wanted in (line.host.lower(), str(line.task))
    return ours and has_it and about.covers(About(line.host, line.task))


# -- journald ---------------------------------------------------------------------------------------------------------


class Journal:
    """Lines of our units, through journalctl."""

    def last(self, count: int, services: Sequence[str] = (), text: str = "", about: About = ANYTHING) -> list[LogLine]:
        """See `LogSource`. Searched from the newest on, so that a large journal is not read whole."""
        found: list[LogLine] = []
        with self._run(["--reverse"], services, about) as process:
            assert process.stdout is not None
            for raw in process.stdout:
                line = _entry(raw)
                if line is not None and _fits(line, (), text, about):
                    found.append(line)
                    if len(found) >= count:
                        process.terminate()
                        break
            else:
                self._check(process)
        return found[::-1]

    def follow(
        self, stop: Callable[[], bool], services: Sequence[str] = (), text: str = "", about: About = ANYTHING
    ) -> Iterator[LogLine | None]:
        """See `LogSource`."""
        with self._run(["--follow", "--lines=0"], services, about) as process:
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)
            rest = b""
            try:
                while not stop():
                    data = process.stdout.read()
                    if not data:
                        if process.poll() is not None:
                            self._check(process)
                            return
                        yield None
                        time.sleep(_POLL_S)
                        continue
                    *whole, rest = (rest + data).split(b"\n")
                    for raw in whole:
                        line = _entry(raw)
                        if line is not None and _fits(line, (), text, about):
                            yield line
            finally:
                process.terminate()

    @staticmethod
    def _run(options: Sequence[str], services: Sequence[str], about: About) -> subprocess.Popen[bytes]:
        names = [f"--unit={units.unit_of(service)}" for service in services or units.SERVICES]
        # journald has an index of tasks; hosts' names are compared here, in any case.
        names += [f"{FIELD_TASK}={about.task}"] if about.task is not None else []
        command = ["journalctl", "--no-pager", "--quiet", "--output=json", *options, *names]
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=-1
            )
        except OSError as error:
            raise Unavailable(f"journalctl cannot be run: {error.strerror}.") from error

    @staticmethod
    def _check(process: subprocess.Popen[bytes]) -> None:
        said = b"" if process.stderr is None else process.stderr.read()
        if process.wait() != 0:
            words = (said.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"])[0].rstrip(".")
            raise Unavailable(f"The journal cannot be read: {words}.", hint="Run as root, or as a member of adm.")


def _entry(raw: bytes) -> LogLine | None:
    """One JSON object of `journalctl --output=json`; None for what is none."""
    try:
        entry: dict[str, Any] = json.loads(raw)
        message = entry.get("MESSAGE")
        if isinstance(message, list):  # bytes that are no UTF-8
            message = bytes(message).decode("utf-8", "replace")
        at = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
        priority = int(entry.get("PRIORITY") or 6)
        level = _LEVELS[priority] if 0 <= priority < len(_LEVELS) else "info"
        # What systemd itself says of a unit has the unit's name in another field.
        unit = str(entry.get("UNIT") or entry.get("_SYSTEMD_UNIT") or "")
        task = str(entry.get(FIELD_TASK) or "")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError):
        return None
    service = unit.removeprefix("diecast-").removesuffix(".service")
    return LogLine(
        at,
        level,
        service if service in units.SERVICES else "",
        str(message or ""),
        str(entry.get(FIELD_HOST) or ""),
        int(task) if task.isascii() and task.isdecimal() else None,
    )


# -- our own file -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogFile:
    """Lines of the log file and the older ones beside it."""

    path: Path

    def last(self, count: int, services: Sequence[str] = (), text: str = "", about: About = ANYTHING) -> list[LogLine]:
        """See `LogSource`. Raises `Unavailable` when there is no file, or it cannot be read."""
        found: list[LogLine] = []
        for path in (self.path, *_older(self.path)):
            try:
                with path.open(encoding="utf-8", errors="replace") as file:
                    lines = [line for line in _lines(file) if _fits(line, services, text, about)]
            except FileNotFoundError:
                if path == self.path:
                    raise Unavailable(
                        f"There is no log yet: {path} does not exist.", hint="It is written by: diecast serve"
                    ) from None
                break
            except OSError as error:
                raise Unavailable(f"The log {path} cannot be read: {error.strerror}.") from error
            found = lines + found
            if len(found) >= count:
                break
        return found[-count:] if count > 0 else []

    def follow(
        self, stop: Callable[[], bool], services: Sequence[str] = (), text: str = "", about: About = ANYTHING
    ) -> Iterator[LogLine | None]:
        """See `LogSource`. Waits for the file where there is none, and goes on with the new one after a rotation.

        A line is given when the next one begins or nothing more came for a moment: it may have a traceback.
        """
        file, buffer = _open_at_end(self.path), ""
        try:
            while not stop():
                data = file.read() if file is not None else ""
                # The last message may still grow by a traceback; it is complete when nothing more comes.
                ready, buffer = _split_last(buffer + data) if data else _split_end(buffer)
                for line in _lines(ready.split("\n")):
                    if _fits(line, services, text, about):
                        yield line
                if data:
                    continue
                yield None
                time.sleep(_POLL_S)
                if file is None or _was_replaced(file, self.path):
                    buffer += file.read() if file is not None else ""
                    file = _reopened(file, self.path)
        finally:
            if file is not None:
                file.close()


def _older(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}.{number}") for number in range(1, KEPT + 1)]


def _lines(raw: Any) -> Iterator[LogLine]:
    """Lines of text as log lines; a traceback goes to the one before it."""
    current: LogLine | None = None
    for text in raw:
        text = text.rstrip("\n")
        begun = _parse(text)
        if begun is not None:
            if current is not None:
                yield current
            current = begun
        elif current is not None and text:
            current = replace(current, text=f"{current.text}\n{text}")
    if current is not None:
        yield current


def _parse(text: str) -> LogLine | None:
    found = _LINE.fullmatch(text)
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found[1])
    except ValueError:
        return None
    task = None if found[5] is None else int(found[5])
    return LogLine(at.astimezone(UTC), found[2], "" if found[3] == "-" else found[3], found[6], found[4] or "", task)


def _split_last(text: str) -> tuple[str, str]:
    """Everything before the last line that begins a message, and the rest."""
    starts = [found.start() for found in re.finditer(r"(?m)^\S+ (?:debug|info|warning|error) ", text)]
    return (text[: starts[-1]], text[starts[-1] :]) if starts else ("", text)


def _split_end(text: str) -> tuple[str, str]:
    """Everything if its last line is complete."""
    return (text, "") if text.endswith("\n") else ("", text)


def _reopened(file: Any, path: Path) -> Any:
    if file is not None:
        file.close()
    return _open(path)


def _open(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _open_at_end(path: Path) -> Any:
    file = _open(path)
    if file is not None:
        file.seek(0, os.SEEK_END)
    return file


def _was_replaced(file: Any, path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino != path.stat().st_ino
    except OSError:
        return False


class _Formatter(logging.Formatter):
    """`2026-11-23T12:00:00.123+00:00 info dhcp host=pc-07 task=7 dhcpd: message`."""

    def __init__(self, only: str = "") -> None:
        super().__init__()
        self._only = only

    def formatMessage(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        level = next((name for name in ("error", "warning", "info") if record.levelno >= _NUMBERS[name]), "debug")
        message = record.getMessage().translate(_CONTROL)
        service = service_of(record.name) or self._only or "-"
        note = current()
        host = f" host={_BLANK.sub('_', note.host.translate(_CONTROL))}" if note.host else ""
        task = "" if note.task is None else f" task={note.task}"
        return f"{at} {level} {service}{host}{task} {record.name.removeprefix(_PACKAGE)}: {message}"


_BLANK = re.compile(r"\s")
_NUMBERS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}


class _SharedFile(logging.Handler):
    """Appends to a file that other processes append to and rotate as well."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._opened()

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = (self.format(record) + "\n").encode("utf-8", "replace")
            if self._is_gone():
                os.close(self._file)
                self._file = self._opened()
            if os.fstat(self._file).st_size + len(data) > MAX_BYTES:
                self._rotate()
            os.write(self._file, data)
        except Exception:
            self.handleError(record)

    def _is_gone(self) -> bool:
        try:
            return os.fstat(self._file).st_ino != self._path.stat().st_ino
        except FileNotFoundError:
            return True

    def _rotate(self) -> None:
        """Under a lock, unless another process was faster; then go on with the new file."""
        with open(self._path.with_suffix(".lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_gone():
                names = [self._path, *_older(self._path)]
                for older, newer in reversed(list(zip(names[1:], names, strict=False))):
                    with contextlib.suppress(FileNotFoundError):
                        newer.rename(older)
        os.close(self._file)
        self._file = self._opened()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()


def to_file(state: Path, services: Sequence[str] = ()) -> contextlib.AbstractContextManager[None]:
    """Opens the file below `state`; what is logged meanwhile also goes there. Raises `Unavailable` at once.

    A line whose module tells no service is that of `services`, when this process serves only one.
    """
    try:
        handler = _SharedFile(file_of(state))
    except OSError as error:
        raise Unavailable(f"The log {file_of(state)} cannot be written: {error.strerror}.") from error
    handler.setFormatter(_Formatter(services[0] if len(services) == 1 else ""))
    return _attached(handler)


@contextlib.contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()

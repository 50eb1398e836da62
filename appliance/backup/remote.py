"""Backups on another host, by the system's ssh and what every Unix has: sh, tar, find, mv, rm, df, sync.

Files go there and come back as tar streams (POSIX ustar), a batch a connection. A batch is unpacked beside the pool and
renamed into it after a sync. No password is ever asked for or given: ssh runs in BatchMode and takes the keys, ports
and known hosts of the user's own ssh_config(5). Over rsync and sftp: rsync must be installed on both sides, and sftp
says neither what is free nor which of many files are there.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, BinaryIO

from appliance.backup.places import ROOT, Source, Take, full, missing
from appliance.errors import ApplianceError, NotFound, Unavailable

OPTIONS = (
    "-T", "-oBatchMode=yes", "-oConnectTimeout=15", "-oServerAliveInterval=15", "-oServerAliveCountMax=4",
    "-oForwardAgent=no", "-oForwardX11=no", "-oClearAllForwardings=yes", "-oPermitLocalCommand=no",
)  # fmt: skip
_NOT_THERE, _NOT_OURS = 40, 41  # statuses of our own scripts
_SSH_FAILED = 255  # ssh(1)

# What ssh says -> what to do about it.
_REMEDIES = (
    ("Host key verification failed", "Log in once by hand and confirm its key: ssh {host}"),
    ("Permission denied", "Give this user's public key to that host: ssh-copy-id {host}"),
    ("Could not resolve", "Mend its name or write its address."),
    ("", "See whether it is on and can be reached: ssh {host}"),
)
_DF = re.compile(r"\s\d+\s+\d+\s+(-?\d+)\s+\d+%")

Feed = Callable[[BinaryIO], None]


class Remote:
    """A folder of another host. See `places.Place`."""

    def __init__(self, host: str, folder: str, *, program: str = "ssh") -> None:
        self.name = f"{host}:{folder}"
        self._host = host
        self._folder = folder
        self._program = program

    def check(self) -> None:
        folder = shlex.quote(self._folder)
        self._run(f"test -d {folder} || exit {_NOT_THERE}; test -w {folder} && test -x {folder} || exit {_NOT_OURS}")

    def exists(self) -> bool:
        return self._run(f"cd {self._top} 2>/dev/null && echo yes || echo no").strip() == b"yes"

    def make(self) -> None:
        self._run(f"umask 077; mkdir -p {self._top}")

    def room_bytes(self) -> int:
        text = self._run(f"LC_ALL=C df -Pk {shlex.quote(self._folder)}").decode(errors="replace")
        found = _DF.findall(text)
        if not found:
            raise Unavailable(
                f"{self._host} does not say how much room {self._folder} has.", hint=f"See: ssh {self._host} df"
            )
        return max(0, int(found[-1])) * 1024

    def entries(self, folder: str) -> list[str]:
        quoted = shlex.quote(f"./{folder}")
        text = self._in_top(f"test ! -d {quoted} || ls -A1 {quoted}")
        return sorted(text.decode(errors="replace").splitlines())

    def files(self, folder: str) -> set[str]:
        quoted = shlex.quote(f"./{folder}")
        text = self._in_top(f"test ! -d {quoted} || find {quoted} -type f")
        return {line.removeprefix("./") for line in text.decode(errors="replace").splitlines()}

    def write(self, files: Sequence[tuple[str, Source]]) -> None:
        inbox = f".{uuid.uuid4().hex}.new"
        parents = sorted({name.rpartition("/")[0] for name, _ in files})
        moves = []
        for parent in parents:
            quoted = shlex.quote(f"./{parent}")
            moves.append(f"mkdir -p {quoted} && mv -f {inbox}/{shlex.quote(parent)}/* {quoted}/")
        script = [f"mkdir {inbox}", f"tar -xf - -C {inbox}", _sync(), *moves, f"rm -rf {inbox}"]
        failed = f"{{ status=$?; rm -rf {inbox}; exit $status; }}"
        self._in_top(f"umask 077; {{ {' && '.join(script)}; }} || {failed}", feed=lambda pipe: _pack(files, pipe))

    def read(self, names: Sequence[str], take: Take) -> None:
        wanted = set(names)

        def unpack(pipe: IO[bytes]) -> None:
            with tarfile.open(fileobj=pipe, mode="r|") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    name = member.name.removeprefix("./")
                    if file is not None and name in wanted:
                        wanted.discard(name)
                        take(name, file)  # type: ignore[arg-type]

        listing = "\n".join(f"./{name}" for name in names).encode() + b"\n"
        try:
            self._in_top("tar -cf - -T -", feed=lambda pipe: _give(pipe, listing), drain=unpack)
        except Unavailable:
            if not wanted or not self.exists():
                raise
            there = self.files("")
            for name in sorted(wanted - there):
                raise missing(name, self.name) from None
            raise
        if wanted:
            raise missing(min(wanted), self.name)

    def rename(self, old: str, new: str) -> None:
        before, after = shlex.quote(f"./{old}"), shlex.quote(f"./{new}")
        # mv would put it into a folder of the new name.
        self._in_top(f"{_sync()} && test ! -e {after} && mv {before} {after} && {_sync()}")

    def remove(self, names: Sequence[str]) -> None:
        listing = "".join(f"./{name}\n" for name in names).encode()
        self._in_top(
            'while IFS= read -r name; do rm -rf "$name" || exit 1; done', feed=lambda pipe: _give(pipe, listing)
        )

    # -- one command

    @property
    def _top(self) -> str:
        return shlex.quote(f"{self._folder.rstrip('/')}/{ROOT}")

    def _in_top(self, script: str, **pipes: Callable[..., None]) -> bytes:
        return self._run(f"cd {self._top} || exit {_NOT_THERE}; {script}", **pipes)

    def _run(self, script: str, *, feed: Feed | None = None, drain: Callable[[IO[bytes]], None] | None = None) -> bytes:
        """Run a script of sh(1) there; its standard output. Raises in words."""
        # The login shell there may be any.
        command = [self._program, *OPTIONS, "--", self._host, f"sh -c {shlex.quote(script)}"]
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as answer:
            stdout: int | IO[bytes] = answer if drain is None else subprocess.PIPE
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE if feed else subprocess.DEVNULL, stdout=stdout, stderr=said
                )
            except OSError as error:
                raise Unavailable(
                    f"The program {self._program} cannot be run: {error.strerror}.", hint="Install openssh-client."
                ) from error
            trouble = _converse(process, feed, drain)
            said.seek(0)
            words = said.read(4096).decode(errors="replace").strip()
            if process.returncode != 0:
                raise self._explain(process.returncode, words) from trouble
            if trouble is not None:
                raise Unavailable(
                    f"What {self.name} sends is broken: {trouble}.", hint="Try again; see: diecast backup verify"
                )
            answer.seek(0)
            return answer.read()

    def _explain(self, status: int, words: str) -> ApplianceError:
        lines = [line.strip() for line in words.splitlines() if line.strip()] or [f"status {status}"]
        if status == _SSH_FAILED:
            remedy = next(remedy for sign, remedy in _REMEDIES if sign in words)
            text = f"{self._host} cannot be reached by SSH: {lines[-1].rstrip('.')}."
            return Unavailable(text, hint=remedy.format(host=self._host))
        if status == _NOT_THERE:
            return NotFound(
                f"The folder {self._folder} is not there on {self._host}, or holds no backups.",
                hint="Make the folder there, or mount its disk.",
            )
        if status == _NOT_OURS:
            return Unavailable(
                f"The folder {self._folder} on {self._host} cannot be written to.", hint="Mend its owner there."
            )
        if "No space left" in words or "Disk quota exceeded" in words:
            return full(self.name)
        return Unavailable(f"{self._host} says: {lines[0].rstrip('.')}.", hint=f"See what is there: ssh {self._host}")


def _sync() -> str:
    """Shell: flush; GNU's `sync` can flush one file system alone."""
    return "{ sync -f . 2>/dev/null || sync; }"


def _converse(
    process: subprocess.Popen[bytes], feed: Feed | None, drain: Callable[[IO[bytes]], None] | None
) -> Exception | None:
    """Write to it, read from it, wait for its end. Returns what went wrong on the pipes; errors of ours go through."""
    try:
        try:
            if feed is not None:
                assert process.stdin is not None
                with process.stdin as pipe:
                    feed(pipe)  # type: ignore[arg-type]
            if drain is not None:
                assert process.stdout is not None
                drain(process.stdout)
                process.stdout.read()  # tar fills its last block
        except (BrokenPipeError, tarfile.TarError) as error:
            return error
        return None
    except BaseException:
        process.kill()
        raise
    finally:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        process.wait()


def _pack(files: Sequence[tuple[str, Source]], pipe: BinaryIO) -> None:
    with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for name, source in files:
            info = tarfile.TarInfo(name)
            info.mode = 0o600
            if isinstance(source, bytes):
                info.size = len(source)
                archive.addfile(info, io.BytesIO(source))
            else:
                with source.open("rb") as file:
                    info.size = source.stat().st_size
                    archive.addfile(info, file)


def _give(pipe: BinaryIO, data: bytes) -> None:
    pipe.write(data)

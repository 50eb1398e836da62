"""nfs-ganesha as a back end, for machines whose kernel has no NFS server: a child process with a configuration of ours.

Exports change by SIGHUP, at which it reads its EXPORT blocks again; clients of exports that stay notice nothing
(measured with 4.3: reads went on through six reloads). No D-Bus is needed.
A ganesha that outlived us (kill -9) is taken over when it is ours and was started with the same settings, so that its
clients do not even see a grace period; otherwise it is ended first.

References: ganesha-core-config(8), ganesha-export-config(8), ganesha-vfs-config(8); pidfd_open(2).
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from appliance.config import Nfs
from appliance.errors import Unavailable
from appliance.services.nfs_exports import Export

log = logging.getLogger(__name__)

BINARY = "ganesha.nfsd"
START_TIMEOUT_S = 30.0
RELOAD_TIMEOUT_S = 10.0
END_TIMEOUT_S = 8.0
MAX_LOG_BYTES = 8 * 10**6  # its log is for the trouble of now
_RELOADED = "Reread exports complete"
_MARK = "# --- exports of the tasks that run now ---\n"


def is_there() -> bool:
    """Whether nfs-ganesha is installed."""
    return shutil.which(BINARY) is not None


def render_head(nfs: Nfs, bind: IPv4Address | None, recovery: Path) -> str:
    """The part of the configuration that ganesha reads only when it starts.

    Minor version 2 is left out: reads by a Linux client of it fail (its READ_PLUS against ganesha 4.3). Version 6 ends
    at once when it may not call prctl(PR_SET_IO_FLUSHER), as in containers, unless told otherwise; 4.3 does not know
    that parameter and says so.
    """
    bind_line = f"Bind_addr = {bind};" if bind else ""
    return f"""# Written by Diecast. Do not edit: it is replaced at every change.
NFS_CORE_PARAM {{
    NFS_Port = {nfs.port};
    {bind_line}
    Protocols = 4;
    Enable_UDP = false;
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Allow_Set_Io_Flusher_Fail = true;
}}
NFSv4 {{
    Minor_Versions = 0, 1;
    Lease_Lifetime = {nfs.lease_s};
    Grace_Period = {nfs.grace_s};
    RecoveryBackend = fs_ng;
    RecoveryRoot = "{_quoted(recovery)}";
}}
NFS_KRB5 {{ Active_krb5 = false; }}
LOG {{ Default_Log_Level = EVENT; }}
EXPORT_DEFAULTS {{ Access_Type = NONE; Protocols = 4; Transports = TCP; SecType = sys; Squash = All; }}
{_MARK}"""


def render_exports(exports: Iterable[Export]) -> str:
    """The EXPORT blocks: nobody has access but the clients named, each to the one folder."""
    return "".join(
        f"""EXPORT {{
    Export_Id = {export.id};
    Path = "{_quoted(export.path)}";
    Pseudo = "{_quoted(export.pseudo)}";
    FSAL {{ Name = VFS; }}
    CLIENT {{
        Clients = {", ".join(map(str, export.clients))};
        Access_Type = {"RW" if export.writable else "RO"};
        Squash = All;
        Anonymous_Uid = {export.uid};
        Anonymous_Gid = {export.uid};
        Protocols = 4;
        Transports = TCP;
        SecType = sys;
    }}
}}
"""
        for export in exports
    )


def _quoted(path: Path | str) -> str:
    """A path for inside double quotes. Raises `Unavailable` for one that ganesha's grammar cannot hold."""
    text = str(path)
    if any(sign in text for sign in '"\\\n'):
        raise Unavailable(f"The path {text!r} cannot be exported by nfs-ganesha.", hint="Choose another in [paths].")
    return text


class GaneshaServer:
    """One ganesha process. Used by one thread at a time."""

    root = ""  # pseudo paths are as wished

    def __init__(self, nfs: Nfs, run: Path, addresses: Sequence[IPv4Address]) -> None:
        """`run` is the folder for its files; it listens on the address if there is one, on all if there are more."""
        self.folder = run / "ganesha"
        self.config = self.folder / "ganesha.conf"
        self.log = self.folder / "ganesha.log"
        self.pid_file = self.folder / "ganesha.pid"
        self._nfs = nfs
        # A loopback address is refused where there is no other (getaddrinfo with AI_ADDRCONFIG).
        self._bind = addresses[0] if len(addresses) == 1 and not addresses[0].is_loopback else None
        self._head = render_head(nfs, self._bind, self.folder / "recovery")
        self._child: subprocess.Popen[bytes] | None = None
        self._handle = -1  # pidfd of the process, child or not
        self._exports: tuple[Export, ...] = ()

    @property
    def pid(self) -> int:
        """The process id that ganesha wrote, 0 if none."""
        try:
            return int(self.pid_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def start(self, exports: tuple[Export, ...]) -> None:
        """Have one ganesha run with these exports. Raises `Unavailable` with its last words when it does not start."""
        self._make_folders()
        self._exports = exports
        if self._take_over():
            self._reload()
            return
        self._write_config()
        self.log.write_bytes(b"")
        binary = shutil.which(BINARY)
        if binary is None:
            raise Unavailable("nfs-ganesha is not installed.", hint="Run: apt-get install nfs-ganesha nfs-ganesha-vfs")
        command = [binary, "-F", "-f", str(self.config), "-L", str(self.log), "-p", str(self.pid_file)]
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._handle = os.pidfd_open(self._child.pid)
        self._wait_until_it_listens()
        log.info("nfs-ganesha runs as process %d on %s port %d", self._child.pid, self._address(), self._nfs.port)

    def apply(self, exports: tuple[Export, ...]) -> None:
        """Export exactly these; returns when they are in force."""
        self._exports = exports
        self._reload()

    def check(self) -> None:
        """Start it again if it has ended. Raises `Unavailable` when that fails."""
        if not self._has_ended():
            return
        log.error("nfs-ganesha ended by itself and is started again. Its last words: %s", self._last_words())
        self._forget()
        self.start(self._exports)

    def stop(self) -> None:
        """End it."""
        if self._handle >= 0:
            self._end(self._handle)
            self._forget()

    def _make_folders(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "recovery").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{self.folder} cannot be made: {error.strerror}.") from None

    def _write_config(self) -> None:
        temporary = self.config.with_suffix(".new")
        temporary.write_text(self._head + render_exports(self._exports), encoding="utf-8")
        os.replace(temporary, self.config)

    def _take_over(self) -> bool:
        """Take over what an earlier life of ours left behind, or end it when it runs with other settings."""
        handle = self._open_leftover()
        if handle < 0:
            self.pid_file.unlink(missing_ok=True)
            return False
        with suppress(OSError):
            if self.config.read_text(encoding="utf-8").startswith(self._head) and self._listens():
                log.info("nfs-ganesha, process %d, has been left running and is taken over", self.pid)
                self._handle = handle
                return True
        log.info("nfs-ganesha, process %d, has been left running with other settings and is ended", self.pid)
        self._end(handle)
        os.close(handle)
        self.pid_file.unlink(missing_ok=True)
        return False

    def _open_leftover(self) -> int:
        """A pidfd of the ganesha in our pid file if that is ours, else -1.

        A process id may have been given to another program since: its name and the configuration it was started with,
        in a folder that only we write, must be ours. They are looked at after the pidfd was opened, so that it cannot
        come to mean another process. (/proc/PID/exe would need CAP_SYS_PTRACE: ganesha changes its file-system uid.)
        """
        pid = self.pid
        try:
            handle = os.pidfd_open(pid) if pid > 0 else -1
        except OSError:
            return -1
        if handle >= 0 and not self._is_ours(pid):
            os.close(handle)
            return -1
        return handle

    def _is_ours(self, pid: int) -> bool:
        proc = Path("/proc") / str(pid)
        try:
            name = (proc / "comm").read_text(errors="replace").strip()
            words = (proc / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return name == BINARY and os.fsencode(self.config) in words

    def _reload(self) -> None:
        """Make it read its exports again, and wait until it says that it has."""
        self._write_config()
        if self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.write_bytes(b"")
        start = self.log.stat().st_size
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGHUP)
        except ProcessLookupError:
            return self.check()
        deadline = time.monotonic() + RELOAD_TIMEOUT_S
        while time.monotonic() < deadline:
            with self.log.open("rb") as file:
                file.seek(start)
                said = file.read().decode(errors="replace")
            if _RELOADED in said:
                return self._complain(said.partition(_RELOADED)[0])
            if self._has_ended():
                return self.check()
            time.sleep(0.01)
        raise Unavailable(f"nfs-ganesha did not take over new exports: {self._last_words()}.", hint=f"See {self.log}")

    def _complain(self, said: str) -> None:
        """Raise `Unavailable` when it skipped an export; the others are in force all the same."""
        for line in said.splitlines():
            if ":CONFIG :CRIT :" in line:
                raise Unavailable(f"nfs-ganesha refused an export: {_plain(line)}.", hint=f"See {self.log}")

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._has_ended():
                words = self._last_words()
                self._forget()
                raise Unavailable(f"nfs-ganesha does not start: {words}.", hint=f"See {self.log}")
            # It listens before it handles signals; a SIGHUP in between would end it.
            if self._listens() and "NFS SERVER INITIALIZED" in self.log.read_text(errors="replace"):
                return
            time.sleep(0.05)
        self.stop()
        raise Unavailable(f"nfs-ganesha does not listen on port {self._nfs.port}.", hint=f"See {self.log}")

    def _address(self) -> str:
        return str(self._bind or "127.0.0.1")

    def _listens(self) -> bool:
        try:
            socket.create_connection((self._address(), self._nfs.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _has_ended(self) -> bool:
        if self._child is not None:
            return self._child.poll() is not None
        return self._handle < 0 or _gone(self._handle, 0)

    def _end(self, handle: int) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if _gone(handle, END_TIMEOUT_S):
                break
        if self._child is not None:
            self._child.wait()

    def _forget(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1
        self._child = None
        self.pid_file.unlink(missing_ok=True)

    def _last_words(self) -> str:
        try:
            return _trouble_in(self.log.read_text(errors="replace"))
        except OSError:
            return "it left no log"


def _trouble_in(text: str) -> str:
    """The line of a ganesha log that tells most of trouble: the first about its configuration, or the gravest."""
    lines = [line for line in text.splitlines() if " :EVENT :" not in line]
    wrong = [line for line in lines if "config_errs_to_log :CONFIG :CRIT :" in line]
    for level in (":FATAL :", ":CRIT :", ":MAJ :", ""):
        wrong += reversed([line for line in lines if level in line])
    return _plain(wrong[0]) if wrong else "it left no word"


def _plain(line: str) -> str:
    """A line of ganesha's log without its prefix and full stop."""
    return line.rsplit(" :", 1)[-1].strip().rstrip(".")


def _gone(handle: int, timeout_s: float) -> bool:
    """Whether the process of a pidfd ends within the time."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))

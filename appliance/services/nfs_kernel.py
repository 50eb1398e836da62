"""The kernel's NFS server as a back end: one file of exports, one of settings, and `exportfs`.

Without an `fsid=0` root, NFSv4 clients see exports at their real paths, and the kernel makes the folders above them
visible only as far as they lead there. A root export would show all of the image store to every client.

References: exports(5), exportfs(8), nfs.conf(5), nfsd(7) (nfsv4leasetime, nfsv4gracetime).
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from appliance.config import Nfs
from appliance.errors import Unavailable
from appliance.services.nfs_exports import Export

log = logging.getLogger(__name__)

EXPORTS_FILE = Path("/etc/exports.d/diecast.exports")
SETTINGS_FILE = Path("/etc/nfs.conf.d/diecast.conf")
THREADS = 32
_TIMEOUT_S = 60.0

Run = Callable[[Sequence[str]], None]

# exports(5): these characters are written as octal escapes inside a path.
_UNIT_FILE = Path("/usr/lib/systemd/system/nfs-server.service")  # of the package nfs-kernel-server
_ESCAPES = {ord(sign): f"\\{ord(sign):03o}" for sign in ' \t\n"#\\()'}


def run_tool(command: Sequence[str]) -> None:
    """Run a tool. Raises `Unavailable` with its last line when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{' '.join(command)} could not be run: {error}.") from None
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise Unavailable(f"{' '.join(command)} failed: {reason[0]}.", hint="See: journalctl -u nfs-server")


def render_exports(exports: Iterable[Export]) -> str:
    """The text of exports.d: one line an export, each client address with its options."""
    lines = ["# Written by Diecast for the tasks that run now. Do not edit: it is replaced at every change."]
    for export in exports:
        # subtree_check: a staging folder is a part of a file system, whose other files no handle may reach.
        access = "rw,subtree_check" if export.writable else "ro,no_subtree_check"
        options = f"{access},sync,sec=sys,secure,all_squash,anonuid={export.uid},anongid={export.uid}"
        clients = " ".join(f"{client}({options})" for client in export.clients)
        lines.append(f"{str(export.path).translate(_ESCAPES)} {clients}")
    return "\n".join(lines) + "\n"


def render_settings(nfs: Nfs, addresses: Iterable[IPv4Address]) -> str:
    """The text of nfs.conf.d: NFS 4.0 and 4.1 over TCP on our addresses, with our lease and grace times."""
    lines = [
        "# Written by Diecast.",
        "[nfsd]",
        f"threads={THREADS}",
        f"port={nfs.port}",
        f"lease-time={nfs.lease_s}",
        f"grace-time={nfs.grace_s}",
        "udp=n",
        "tcp=y",
        "vers2=n",
        "vers3=n",
        "vers4=y",
        "vers4.1=y",
        "vers4.2=n",
    ]
    hosts = ",".join(map(str, addresses))
    return "\n".join([*lines, *([f"host={hosts}"] if hosts else [])]) + "\n"


def is_there(
    filesystems: Path = Path("/proc/filesystems"), modules: Path = Path("/usr/lib/modules"), unit: Path = _UNIT_FILE
) -> bool:
    """Whether this machine has the tools and a kernel with, or with a module for, an NFS server."""
    if shutil.which("exportfs") is None:
        return False
    if "nfsd" in filesystems.read_text(encoding="ascii").split():
        return True
    if not (modules / os.uname().release).is_dir():
        # Our unit's ProtectKernelModules= hides them; systemd loads the module when it starts the server's unit.
        return unit.exists()
    modinfo = shutil.which("modinfo")
    return modinfo is not None and subprocess.run([modinfo, "nfsd"], capture_output=True, check=False).returncode == 0


class KernelServer:
    """Exports through nfs-kernel-server, which belongs to the box and stays when we stop."""

    def __init__(
        self,
        nfs: Nfs,
        images: Path,
        addresses: Sequence[IPv4Address],
        *,
        run: Run = run_tool,
        exports_file: Path = EXPORTS_FILE,
        settings_file: Path = SETTINGS_FILE,
    ) -> None:
        self.root = str(images.resolve())  # pseudo paths lie below the real one, which a symbolic link is not
        self._nfs = nfs
        self._addresses = tuple(addresses)
        self._run = run
        self._exports_file = exports_file
        self._settings_file = settings_file

    def start(self, exports: tuple[Export, ...]) -> None:
        """Have the server run with our settings and these exports. It is restarted only when its settings change."""
        _write(self._exports_file, render_exports(exports))
        changed = _write(self._settings_file, render_settings(self._nfs, self._addresses))
        self._run(["systemctl", "restart" if changed else "start", "nfs-server.service"])
        self._run(["exportfs", "-ra"])

    def apply(self, exports: tuple[Export, ...]) -> None:
        """Export exactly these. Clients of exports that stay notice nothing."""
        if _write(self._exports_file, render_exports(exports)):
            self._run(["exportfs", "-ra"])

    def check(self) -> None:
        """The service manager watches over the kernel's server."""

    def stop(self) -> None:
        """Withdraw everything; tasks that go on get their exports back at the next start."""
        self.apply(())


def _write(path: Path, text: str) -> bool:
    """Replace a file as a whole; returns whether it changed."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except FileNotFoundError:
        pass
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}.") from None
    return True

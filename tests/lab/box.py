"""The box of the lab: Diecast's services as one process in the lab's namespace, and its command line.

`kill9` is what it says: nothing is flushed, nothing is told. Children that the services started (an NFS server) are
left to whoever comes next, as on a real machine after such a death.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
from dataclasses import dataclass
from pathlib import Path

from appliance.config import Settings, load
from appliance.store import Store
from tests.lab.boxview import BoxView, CliFailed
from tests.lab.command import BUILD, LabError, run
from tests.lab.network import BOX_INTERFACE, LabNetwork

BOX_ADDRESS = "10.77.0.1"
BOOT_FILES = BUILD / "boot"
_SERVICES_START_S = 40


@dataclass(frozen=True, slots=True)
class BoxOptions:
    """How a box differs from the usual one."""

    dhcp_mode: str = "full"
    services: tuple[str, ...] = ()  # none named: all
    force_dhcp: bool = True  # the lab knows its other servers
    extra: str = ""  # more TOML, of whole tables that are not written yet
    silent_after_s: int = 120
    window_kib: int = 1024


class Box(BoxView):
    """One box with its own store and image folders under `folder`."""

    def __init__(self, lab: LabNetwork, folder: Path, options: BoxOptions | None = None) -> None:
        self.lab = lab
        self.folder = folder
        self.options = options or BoxOptions()
        self.log = folder / "box.log"
        # Sockets and pid files want a short path of their own.
        self._run = Path(tempfile.mkdtemp(prefix="diecast-box-"))
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("state", "images"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.config = folder / "diecast.toml"
        self.config.write_text(self._toml())

    @property
    def settings(self) -> Settings:
        """The settings that the box runs with."""
        return load(self.config)

    @property
    def is_running(self) -> bool:
        """Whether the services' process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the services and wait until HTTP answers. Raises `LabError` with the log's end."""
        words = [*self.lab.box, *self._diecast("serve", *self.options.services)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_env())
        deadline = time.monotonic() + _SERVICES_START_S
        while not self._answers():
            if not self.is_running or time.monotonic() > deadline:
                said = self.last_log_lines()
                self.stop()
                raise LabError(f"The services did not start. Their last lines:\n{said}\n    See {self.log}")
            time.sleep(0.2)

    def reconfigure(self, options: BoxOptions) -> None:
        """Write other settings; the services take them when they start next."""
        self.options = options
        self.config.write_text(self._toml())

    def stop(self) -> None:
        """End the services as systemd would."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def kill9(self) -> None:
        """Kill the services' process without a warning."""
        if self._process is None:
            raise LabError("The services do not run.")
        self._process.kill()
        self._process.wait()
        self._process = None

    def destroy(self) -> None:
        """Stop the services and remove what is not worth keeping; store, images and log stay."""
        self.stop()
        shutil.rmtree(self._run, ignore_errors=True)

    def cli(self, *words: str, stdin: str = "", timeout_s: float = 60) -> str:
        """Run one `diecast` command and return what it printed. Raises `CliFailed`."""
        done = subprocess.run(
            [*self.lab.box, *self._diecast(*words)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=_env(),
            check=False,
        )
        if done.returncode:
            raise CliFailed(words, done.returncode, done.stderr + done.stdout)
        return done.stdout

    def command(self, *words: str) -> list[str]:
        """A `diecast` command on this box as words, for whoever runs it at a terminal."""
        return [*self.lab.box, *self._diecast(*words)]

    def store(self) -> Store:
        """Open the box's store; close it after use."""
        return Store.open(self.settings.paths.database)

    def last_log_lines(self, count: int = 25) -> str:
        """The end of the services' log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join("    " + line[:200] for line in text.splitlines()[-count:])

    def _diecast(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "appliance", "--config", str(self.config), *words]

    def _answers(self) -> bool:
        if self.options.services and "http" not in self.options.services:
            return "ready" in self.last_log_lines().lower()
        try:
            run([*self.lab.box, "curl", "-sf", "-m", "2", "-o", "/dev/null", f"http://{BOX_ADDRESS}/healthz"])
        except (LabError, urllib.error.URLError):
            return False
        return True

    def _toml(self) -> str:
        options = self.options
        subnet = (
            '[[dhcp.subnet]]\nnetwork = "10.77.0.0/24"\nrange_first = "10.77.0.100"\nrange_last = "10.77.0.199"\n'
            f'router = "{BOX_ADDRESS}"\ndomain = "lab.test"\n'
        )
        return (
            f'[paths]\nstate = "{self.folder}/state"\nimages = "{self.folder}/images"\n'
            f'boot = "{BOOT_FILES}"\nrun = "{self._run}"\n'
            f'[network]\ninterfaces = ["{BOX_INTERFACE}"]\n'
            f'[dhcp]\nmode = "{options.dhcp_mode}"\nforce = {str(options.force_dhcp).lower()}\n'
            f"{subnet if options.dhcp_mode == 'full' else ''}"
            f"[tasks]\nsilent_after_s = {options.silent_after_s}\nwindow_kib = {options.window_kib}\n"
            f'[log]\nlevel = "info"\n{options.extra}'
        )


def _env() -> dict[str, str]:
    """The environment of the box's processes: as ours, without a terminal's size or colours."""
    return {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}

"""Coming in by SSH from the lab's side: root's test-only key, and an operator's account with its password."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab.command import LabError

_QUIET = ["-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5"]


class Way:
    """One account of a box, reached from a station of the lab. Without a key a password is asked for."""

    def __init__(self, station: Sequence[str], address: str, account: str, *, key: Path | None = None) -> None:
        self._station = list(station)
        self.address, self.account = address, account
        self._folder = Path(tempfile.mkdtemp(prefix="diecast-ssh-"))
        self._words = ["-F", "none", *_QUIET, "-o", "UserKnownHostsFile=/dev/null"]
        if key:
            self._words += ["-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
            self._words += ["-o", "ControlMaster=auto", "-o", f"ControlPath={self._folder}/master"]
            self._words += ["-o", "ControlPersist=yes", "-o", "ServerAliveInterval=3", "-o", "ServerAliveCountMax=3"]
        else:
            self._words += ["-o", "PubkeyAuthentication=no", "-o", "IdentityAgent=none"]
            self._words += ["-o", "PreferredAuthentications=password,keyboard-interactive"]

    @property
    def login(self) -> str:
        """`account@address`."""
        return f"{self.account}@{self.address}"

    def command(self, *words: str, program: str = "ssh", options: Sequence[str] = ()) -> list[str]:
        """The words of an ssh command (or of scp, sftp, which name the box themselves)."""
        start = [*self._station, program, *self._words, *options]
        return [*start, self.login, *words] if program == "ssh" else [*start, *words]

    def run(self, script: str, *, timeout_s: float = 60, ok: Sequence[int] = (0,), stdin: bytes = b"") -> str:
        """Run a shell script on the box and return what it printed. Raises `LabError` with both outputs."""
        try:
            done = subprocess.run(
                self.command(script), input=stdin, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as expired:
            raise LabError(f"{self.login}: {script[:200]} did not end within {timeout_s:g} s.") from expired
        if done.returncode not in ok:
            said = (done.stderr + done.stdout).decode(errors="replace").strip()
            raise LabError(f"{self.login}: {script[:200]} ended with status {done.returncode}: {said[-2000:]}")
        return done.stdout.decode(errors="replace")

    def waits_until_there(self, timeout_s: float) -> None:
        """Wait until the box lets us in. Raises `LabError`."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.run("true", timeout_s=20)
                return
            except LabError as error:
                self.hang_up()
                if time.monotonic() > deadline:
                    raise LabError(f"{self.login} does not let us in within {timeout_s:g} s: {error}") from error
                time.sleep(1)

    def attempt(
        self, command: Sequence[str], password: str, *, timeout_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run an ssh, scp or sftp command without a terminal, the password given when it is asked for.

        Its status is 124 when it was ended after `timeout_s`.
        """
        process = self.begin(command, password)
        status = None
        try:
            said, complained = process.communicate(timeout=timeout_s)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            said, complained = process.communicate()
        return subprocess.CompletedProcess(list(command), 124 if status is None else status, said, complained)

    def begin(self, command: Sequence[str], password: str) -> subprocess.Popen[str]:
        """Start such a command; whoever calls ends it."""
        secret, asker = self._folder / "password", self._folder / "ask"
        secret.touch(0o600)
        secret.write_text(password + "\n")
        asker.write_text(f"#!/bin/sh\ncat {secret}\n")
        asker.chmod(0o700)
        env = os.environ | {"SSH_ASKPASS": str(asker), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none"}
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        return subprocess.Popen(
            list(command), stdin=nothing, stdout=pipe, stderr=pipe, text=True, errors="replace", env=env
        )

    def hang_up(self) -> None:
        """End the connection that commands share."""
        words = self.command(options=["-O", "exit"])
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
        (self._folder / "master").unlink(missing_ok=True)

    def close(self) -> None:
        """Hang up for good."""
        self.hang_up()
        shutil.rmtree(self._folder, ignore_errors=True)

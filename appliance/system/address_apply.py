"""Root's part of a change of address: set it on trial, wait for the word, keep it or go back.

1. The wish is read and judged again: it comes from a user without rights.
2. The file is put below `/run`, so that a power cut goes back by itself, under a name that sorts before the lasting
   one's. networkd reloads; the interface must take that very file, and have the address.
3. Somebody says `keep` within the wish's time: the same file is put below `/etc`, and the one below `/run` goes.
   Otherwise, or when the word is `undo`: it goes, and all is as it was.
4. Whatever ends this process in between, `settle` (ExecStopPost=) takes the file below `/run` away.

References: systemd.network(5) (which of two files counts), networkctl(1) (`reload`).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

from appliance.errors import ApplianceError, Conflict, NotFound, Unavailable
from appliance.system import address, mailbox, networkd
from appliance.system.address import Wish
from appliance.system.links import links

_TAKEN_S = 20.0  # in which networkd has read a file and set an address
_LEASED_S = 45.0  # in which a DHCP server has answered; its client asks anew after 4, 8 and 16 s
_POLL_S = 0.2
_COMMAND_S = 30.0


@dataclass(slots=True)
class Networkd:
    """The running systemd-networkd, and its folders."""

    lasting: Path = Path("/etc/systemd/network")
    passing: Path = Path("/run/systemd/network")
    refuse: Callable[[str], None] = field(default=networkd.refuse_unless_ours)

    def trial_file(self, interface: str) -> Path:
        """Where a change lies that is on trial."""
        return self.passing / f"09-diecast-{interface}.network"

    def kept_file(self, interface: str) -> Path:
        """Where one lies that was kept."""
        return self.lasting / f"10-diecast-{interface}.network"

    def reload(self) -> None:
        """Have networkd read its files again; links whose file is another one now are set up anew."""
        try:
            done = subprocess.run(
                ["networkctl", "reload"], capture_output=True, text=True, timeout=_COMMAND_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(
                f"networkctl cannot be run: {error}.", hint="See: systemctl status systemd-networkd"
            ) from (error)
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it ended without a word"])[0]
            raise Unavailable(f"networkctl reload: {said}.", hint="See: systemctl status systemd-networkd")

    def file_of(self, interface: str) -> str:
        """The file that networkd takes for it now."""
        return networkd.managed(interface).file

    def addresses(self, interface: str) -> tuple[IPv4Interface, ...]:
        """What it has now."""
        return next((link.addresses for link in links() if link.name == interface), ())


def carry_out(run: Path, machine: Networkd) -> None:
    """Read the wish and do it to its end. Reports all along; raises `ApplianceError` when it came to nothing."""
    settle(run, machine)
    wish = address.parse(mailbox.wished(run, address.NAME))
    before = address.state(run)
    if before is not None and before.id == wish.id:
        return  # done before: wishes lie in a folder that is not ours to empty
    trial = _Trial(run, wish, machine)
    trial.tell(address.TRYING)
    try:
        machine.refuse(wish.interface)
        address.check(wish, links())
        trial.begin()
        if trial.is_to_be_kept():
            trial.keep()
        else:
            trial.go_back()
    except ApplianceError as error:
        trial.fail(error)
        raise


def settle(run: Path, machine: Networkd) -> None:
    """Take away what a process of ours that was ended left on trial."""
    found = [path for path in machine.passing.glob("09-diecast-*.network") if path.is_file()]
    for path in found:
        path.unlink()
    if found:
        machine.reload()
    before = address.state(run)
    if before is not None and before.stage == address.KEEPING and machine.kept_file(before.interface).exists():
        text = f"{before.interface} has {before.wanted} from now on."
        _report(run, before.id, address.KEPT, before.interface, before.wanted, text)
    elif before is not None and before.stage in (address.TRYING, address.WAITING, address.KEEPING):
        text = f"The change of {before.interface} was interrupted, and taken back."
        _report(run, before.id, address.FAILED, before.interface, before.wanted, text, "Try it again.")


@dataclass(slots=True)
class _Trial:
    run: Path
    wish: Wish
    machine: Networkd
    before: bytes | None = None  # what the lasting file held
    replaced: bool = False
    until_s: float = 0.0

    def tell(self, stage: str, text: str = "", hint: str = "") -> None:
        """Report how it stands."""
        _report(self.run, self.wish.id, stage, self.wish.interface, self.wish.words, text, hint, self.until_s)

    def begin(self) -> None:
        """Set it for now."""
        wish, machine = self.wish, self.machine
        self.until_s = mailbox.now_s() + _LEASED_S
        text = networkd.render(wish.interface, wish.address, wish.gateway, wish.dns)
        _put(machine.trial_file(wish.interface), text.encode())
        machine.reload()
        self._wait(machine.trial_file(wish.interface))

    def _wait(self, file: Path) -> None:
        """Until networkd has taken `file` and the address is there. Raises `Conflict` or `Unavailable`."""
        wish, machine = self.wish, self.machine
        limit_s = _TAKEN_S if wish.address is not None else _LEASED_S
        until = time.monotonic() + limit_s
        while True:
            taken, there = machine.file_of(wish.interface), machine.addresses(wish.interface)
            fits = [each for each in there if wish.address in (None, each) and not each.is_link_local]
            if Path(taken) == file and fits:
                return
            if time.monotonic() > until:
                break
            time.sleep(_POLL_S)
        if Path(taken) != file and taken:
            raise Conflict(
                f"{wish.interface} goes on with {taken}, which comes before our file.",
                hint="Rename that file so that it comes after 10-diecast.",
            )
        if wish.address is None:
            raise Unavailable(
                f"No DHCP server gave {wish.interface} an address within {limit_s:.0f} s.",
                hint="Look at its cable, or give it a fixed address.",
            )
        raise Unavailable(
            f"systemd-networkd did not set {wish.words} on {wish.interface} within {limit_s:.0f} s.",
            hint="See: journalctl -u systemd-networkd",
        )

    def is_to_be_kept(self) -> bool:
        """Wait for the word."""
        if not self.wish.confirm_s:
            return True
        self.until_s = mailbox.now_s() + self.wish.confirm_s
        self.tell(address.WAITING)
        while mailbox.now_s() < self.until_s:
            with contextlib.suppress(ApplianceError):
                plain = mailbox.wished(self.run, address.ANSWER)
                if plain.get("id") == self.wish.id and plain.get("word") in (address.KEEP, address.UNDO):
                    return bool(plain["word"] == address.KEEP)
            time.sleep(_POLL_S)
        return False

    def keep(self) -> None:
        """Make it last."""
        wish, machine = self.wish, self.machine
        self.until_s = mailbox.now_s() + _TAKEN_S
        self.tell(address.KEEPING)
        kept, trial = machine.kept_file(wish.interface), machine.trial_file(wish.interface)
        with contextlib.suppress(FileNotFoundError):
            self.before = kept.read_bytes()
        _put(kept, trial.read_bytes())
        self.replaced = True
        trial.unlink()
        machine.reload()
        self._wait(kept)
        has = ", ".join(map(str, machine.addresses(wish.interface)))
        text = f"{wish.interface} has {has} from now on."
        self.tell(address.KEPT, text)

    def go_back(self) -> None:
        """Nobody wanted it."""
        self._take_away()
        has = ", ".join(map(str, self.machine.addresses(self.wish.interface))) or "no address"
        text = f"Nobody kept {self.wish.words}: {self.wish.interface} has {has} again."
        self.tell(address.UNDONE, text)

    def _take_away(self) -> None:
        """Our file goes, and the one before it counts again."""
        wish, machine = self.wish, self.machine
        trial, kept = machine.trial_file(wish.interface), machine.kept_file(wish.interface)
        trial.unlink(missing_ok=True)
        if self.replaced and self.before is None:
            kept.unlink(missing_ok=True)
        elif self.replaced and self.before is not None:
            _put(kept, self.before)
        machine.reload()
        until = time.monotonic() + _TAKEN_S
        while machine.file_of(wish.interface) == str(trial) and time.monotonic() < until:
            time.sleep(_POLL_S)
        if machine.file_of(wish.interface):
            while not machine.addresses(wish.interface) and time.monotonic() < until:
                time.sleep(_POLL_S)

    def fail(self, error: ApplianceError) -> None:
        """Say why, with all as it was."""
        with contextlib.suppress(ApplianceError, OSError):
            if self.replaced or self.machine.trial_file(self.wish.interface).exists():
                self._take_away()
        self.tell(address.FAILED, error.message, error.hint)


def _report(
    run: Path,
    number: str,
    stage: str,
    interface: str,
    wanted: str,
    text: str = "",
    hint: str = "",
    until_s: float = 0.0,
) -> None:
    mailbox.report(
        run,
        address.NAME,
        {
            "id": number,
            "stage": stage,
            "interface": interface,
            "wanted": wanted,
            "text": text,
            "hint": hint,
            "until_s": until_s or mailbox.now_s(),
        },
    )


def _put(path: Path, data: bytes) -> None:
    """Write a file as a whole, on stable storage. Raises `Unavailable`."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(file, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(file)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}.", hint="Run it as root.") from error


def run_unit(run: Path, *, settle_only: bool) -> None:
    """What `diecast-address.service` starts. Nothing asked for: nothing done."""
    machine = Networkd()
    if settle_only:
        settle(run, machine)
        return
    with contextlib.suppress(NotFound):
        carry_out(run, machine)

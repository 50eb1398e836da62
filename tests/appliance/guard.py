"""What a stranger on the lab's side, an operator's account and a viewer can do on the box: only what they shall."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.appliance.box import DATABASE, ApplianceBox
from tests.appliance.ssh import Way
from tests.lab.command import LabError, run
from tests.tui.terminal import Tmux

_TRACE = "/tmp/escaped"
_REFUSED = "Permission denied (publickey"  # by sshd, before anything could be tried
_FORWARD_PORT = 18080
# A port that the box itself has on its loopback: what a forwarding would lead to.
_INSIDE = "127.0.0.1:80"

Say = Callable[[str], None]


def make_account(root: Way, name: str, password: str) -> None:
    """An account for the console, as the manual says an administrator makes one."""
    root.run(f"adduser --disabled-password --gecos '' {name} >/dev/null && adduser {name} diecast-console >/dev/null")
    root.run(f"echo {shlex.quote(f'{name}:{password}')} | chpasswd")


def opens_console(way: Way) -> Tmux:
    """A terminal in which that account has logged in by SSH, its password not typed yet."""
    return Tmux(way.command(options=["-t"]), term="xterm")


def log_in(terminal: Tmux, password: str) -> None:
    """Answer sshd's question."""
    terminal.waits_for(r"password:", 40)
    terminal.type(password)
    terminal.press("Enter")


def escapes(way: Way, password: str, root: Way, folder: Path) -> list[str]:
    """Try every way out of the console that ssh offers. Returns what succeeded, which should be nothing."""
    found: list[str] = []
    root.run(f"rm -f {_TRACE}*")
    bait = folder / "bait"
    bait.write_text("bait")
    touch = f"touch {_TRACE}"
    attempts = {
        "a command": way.command(f"id; {touch}-command"),
        "a command with a terminal": way.command(f"id; {touch}-tty", options=["-tt"]),
        "a shell without a terminal": way.command(options=["-T"]),
        "sftp": way.command(way.login, program="sftp"),
        "scp onto the box": way.command(str(bait), f"{way.login}:{_TRACE}-scp", program="scp"),
        "scp by the old protocol": way.command(str(bait), f"{way.login}:{_TRACE}-old", program="scp", options=["-O"]),
        "scp from the box": way.command(f"{way.login}:/etc/passwd", str(folder / "stolen"), program="scp"),
        "an environment": way.command(options=["-T", "-o", f"SetEnv=BASH_ENV={_TRACE} LD_PRELOAD={_TRACE}"]),
        "a connection through": way.command(options=["-W", _INSIDE]),
    }
    for name, command in attempts.items():
        done = way.attempt(command, password)
        said = done.stdout + done.stderr
        if _REFUSED in said:
            found.append(f"{name} was not tried: the password was refused")
        if re.search(r"uid=\d|^sftp>|^Connected to|HTTP/1", said, re.MULTILINE) or (
            name == "sftp" and done.returncode == 0
        ):
            found.append(f"{name}: {said.strip()[:200]}")
    if (folder / "stolen").exists():
        found.append("scp from the box gave a file")
    left = root.run(f"ls {_TRACE}* 2>/dev/null", ok=(0, 1, 2)).split()
    found += [f"{path} was made on the box" for path in left]
    return found


def forwardings(way: Way, password: str, station: Sequence[str]) -> list[str]:
    """Try to forward ports. Returns what succeeded."""
    found = []
    local = ["-N", "-L", f"127.0.0.1:{_FORWARD_PORT}:{_INSIDE}"]
    if _leads_in(
        way, local, password, [*station, "curl", "-s", "-m", "5", f"http://127.0.0.1:{_FORWARD_PORT}/healthz"]
    ):
        found.append("ssh -L")
    socks = ["-N", "-D", f"127.0.0.1:{_FORWARD_PORT}"]
    proxied = ["curl", "-s", "-m", "5", "-x", f"socks5h://127.0.0.1:{_FORWARD_PORT}", f"http://{_INSIDE}/healthz"]
    if _leads_in(way, socks, password, [*station, *proxied]):
        found.append("ssh -D")
    remote = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", f"{_FORWARD_PORT}:127.0.0.1:22"]
    done = way.attempt(way.command(options=remote), password, timeout_s=12)
    if done.returncode == 124:  # it stayed: the box listens for us
        found.append("ssh -R")
    return found


def _leads_in(way: Way, options: Sequence[str], password: str, look: Sequence[str]) -> bool:
    """Whether `look` gets an answer while such a forwarding is asked for."""
    process = way.begin(way.command(options=options), password)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            done = subprocess.run(look, capture_output=True, text=True, check=False)
            if done.stdout.strip():
                return True
            time.sleep(1)
        return False
    finally:
        process.kill()
        process.communicate()


def keys_that_lead_out(terminal: Tmux) -> list[str]:
    """In a console that somebody signed in to: keys and palette entries that would leave it. Returns what did."""
    found = []
    for key in ("C-z", "C-\\", "C-c", "C-o", "F1"):
        terminal.press(key)
        time.sleep(1)
        if not re.search(r"1 Overview|Diecast|─", terminal.text()):
            found.append(f"{key}: {terminal.text().strip()[:200]}")
        terminal.press("Escape")
    for words in ("suspend", "screenshot", "shell", "maximize"):
        terminal.press("C-p")
        terminal.waits_for("What do you want", 20)
        terminal.type(words)
        time.sleep(1)
        text = terminal.text().lower()
        listed = text.partition("what do you want")[2].replace(words, "", 1)
        if words in listed:
            found.append(f"the palette has '{words}'")
        terminal.press("Escape")
    return found


def viewer_changes(terminal: Tmux, box: ApplianceBox) -> list[str]:
    """In a console that a viewer signed in to: try what changes things. Returns what changed."""
    before = contents(box)
    terminal.press("2")
    terminal.waits_for(r"Hosts \d", 40)
    for key in ("a", "e", "c", "d", "x", "i", "w"):
        terminal.press(key)
        time.sleep(0.5)
        terminal.type("intruder")
        terminal.press("Enter")
        terminal.press("Escape", "Escape")
    for screen in ("3", "4", "8", "9"):
        terminal.press(screen)
        time.sleep(0.5)
        for key in ("a", "e", "x", "s", "r"):
            terminal.press(key)
            time.sleep(0.3)
            terminal.press("Enter", "Escape")
    terminal.press("2")
    terminal.waits_for(r"Hosts \d", 40)
    return sorted(f"{name}: {was} -> {now}" for name, (was, now) in _differences(before, contents(box)).items())


def contents(box: ApplianceBox) -> dict[str, str]:
    """What a viewer must not change, in words."""
    box.forget()
    store = box.store()
    try:
        return {
            "hosts": repr([(host.name, host.macs) for host in store.hosts.list()]),
            "images": repr([image.name for image in store.images.list()]),
            "tasks": repr([(task.id, task.kind) for task in store.tasks.list()]),
            "operators": repr([(each.name, each.role) for each in store.operators.list()]),
            "settings": repr(sorted(store.settings.all("config.").items())),
        }
    finally:
        store.close()


def _differences(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def account_changes(root: Way, name: str) -> list[str]:
    """What the account could do with files and sudo if it had a shell: should be nothing."""
    attempts = {
        "read the store": f"cat {DATABASE}",
        "write the store": f"sh -c 'echo >>{DATABASE}'",
        "look into the store's folder": f"ls {Path(DATABASE).parent}",
        "write an image": "touch /srv/diecast/chunks/intruder",
        "change a unit": "systemctl stop diecast-http.service",
        "add a host": "diecast host add intruder --mac 52:54:00:aa:aa:aa",
        "become diecast": "sudo -n -u diecast sh -c id",
        "become root": "sudo -n id",
        "run another command as diecast": "sudo -n -u diecast /usr/bin/diecast host list",
        "give the console arguments": "sudo -n -u diecast /usr/bin/diecast tui --config /tmp/x",
    }
    found = []
    for what, command in attempts.items():
        status = root.run(f"runuser -u {name} -- {command} </dev/null >/dev/null 2>&1; echo $?").strip()
        if status == "0":
            found.append(what)
    return found


def answers(station: Sequence[str], url: str) -> str:
    """The HTTP status of a page as seen from a station, `000` when nobody answers."""
    try:
        return run(
            [*station, "curl", "-s", "-m", "8", "-o", "/dev/null", "-w", "%{http_code}", url], ok=(0, 7, 28, 52, 56)
        )
    except LabError:
        return "000"

"""The terminal of `make lab`: a tmux of its own with three windows: console, PCs, shell. F10 goes round them.

tmux keeps the lab when the terminal goes away (a lost SSH connection); `make lab` then shows it again. The lab itself
lives in the window of the shell, and ends with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.lab.command import BUILD, ROOT, run

_PLACE = Path(os.environ.get("DIECAST_LAB_FOLDER", BUILD / "lab"))  # tests have a lab of their own
FOLDER = _PLACE / "shell"
DESK = _PLACE / "desk"  # socket
_SOCKET = _PLACE / "tmux"
_LOCK = _PLACE / "shell.lock"
_INSIDE = "DIECAST_LAB"  # set in the shell's window
_NAME = "lab"
_LONGEST = 100  # characters of a socket's path (unix(7): 108)

# What a person at this tmux needs to know is in its last line.
_SETTINGS = """\
set -g default-terminal "{term}"
set -g escape-time 0
set -g status-left ""
set -g status-right " F10 next   F12 end the lab "
set -g status-right-length 40
set -g status-style reverse
set -g window-status-format " #W "
set -g window-status-current-format " [#W] "
bind -n F10 next-window
bind -n F12 confirm-before -p "Switch all PCs off and end the lab? (y/n)" "kill-server"
"""
# A console that was left can be opened again.
_AGAIN = 'while true; do {command}; echo "The console is closed. Enter opens it again."; read -r _ || exit; done'


def inside() -> bool:
    """Whether this process is the shell in its window."""
    return _INSIDE in os.environ


def lacks() -> str:
    """Why there can be no session here, in words; empty when there can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "there is no terminal."
    if shutil.which("tmux") is None:
        return "tmux is not installed; run 'apt-get install -y tmux'."
    term = os.environ.get("TERM", "dumb")
    if term == "dumb":
        return "the terminal (TERM=dumb) cannot move its cursor."
    if not _is_known(term):
        return f"this machine does not know the terminal TERM={term}; try 'TERM=xterm-256color make lab'."
    if len(str(_SOCKET)) > _LONGEST:
        return f"the path {_SOCKET} is too long for a socket; put this checkout into a shorter one."
    return ""


def _is_known(term: str) -> bool:
    """Whether tmux will find it in terminfo."""
    return subprocess.run(["infocmp", term], capture_output=True, check=False).returncode == 0


def show(command: Sequence[str]) -> int:
    """Show the session at this terminal; when there is none yet, make it with `command` as the shell's window."""
    _SOCKET.parent.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("TMUX", "COLUMNS", "LINES")}
    if subprocess.run(_tmux("has-session"), capture_output=True, check=False).returncode:
        settings = _SOCKET.with_suffix(".conf")
        settings.write_text(_SETTINGS.format(term="linux" if os.environ.get("TERM") == "linux" else "screen-256color"))
        size = shutil.get_terminal_size()
        words = ["new-session", "-d", "-s", _NAME, "-n", "shell", "-x", str(size.columns), "-y", str(size.lines)]
        window = [*words, "-c", str(ROOT), "-e", f"{_INSIDE}=1", *command]
        run(["tmux", "-u", "-S", _SOCKET, "-f", settings, *window], env=environment)
    shown = subprocess.run(_tmux("attach-session"), env=environment, check=False).returncode
    if subprocess.run(_tmux("has-session"), capture_output=True, check=False).returncode == 0:
        print("The lab goes on; 'make lab' shows it again.")
        return shown
    with only_one(wait=True):  # it is still switching its PCs off
        return shown


def open_windows(console: Sequence[str]) -> None:
    """Open console and menu before the shell's window, and show the console. Raises `LabError`."""
    again = _AGAIN.format(command=shlex.join(console))
    menu = shlex.join([sys.executable, "-m", "tests.lab.menu", str(DESK)])
    shell = f"{_NAME}:shell"
    run(_tmux("new-window", "-d", "-b", "-t", shell, "-n", "console", "-c", str(ROOT), "sh", "-c", again))
    run(_tmux("new-window", "-d", "-b", "-t", shell, "-n", "PCs", "-c", str(ROOT), "sh", "-c", menu))
    run(_tmux("select-window", "-t", f"{_NAME}:console"))


def end() -> None:
    """The lab is gone: its windows go too."""
    if inside():
        run(_tmux("kill-server"), ok=(0, 1))


def hold() -> None:
    """In a window that closes with its program, wait until its last words were read."""
    if inside():
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            input("Enter closes this window. ")


@contextlib.contextmanager
def only_one(*, wait: bool = False) -> Iterator[bool]:
    """Whether no other process of this checkout has a lab; with `wait`, once that is so."""
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _tmux(*words: str) -> list[str]:
    return ["tmux", "-u", "-S", str(_SOCKET), *words]

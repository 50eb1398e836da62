"""An operator's work in the console, key by key: signing in, adding hosts, ordering a capture and a cast."""

from __future__ import annotations

from collections.abc import Sequence

from tests.appliance.tty import Terminal

START_IT = r"[Ss]tart (it|them) from the network card"
_SLOW_S = 40  # an emulated machine with PCs beside it draws a page


def sign_in(terminal: Terminal, name: str, password: str, *, timeout_s: float = 60) -> None:
    """Answer the console's question who sits there."""
    terminal.waits_for(r"Password", timeout_s)
    terminal.type(name)
    terminal.press("Down")
    terminal.type(password)
    terminal.press("Enter")
    terminal.waits_for(r"1 Overview", _SLOW_S)


def add_host(terminal: Terminal, name: str, mac: str) -> None:
    """Fill in the form of a host, from whichever screen."""
    terminal.press("2")
    terminal.waits_for(r"Hosts \d", _SLOW_S)
    terminal.press("a")
    terminal.waits_for("MAC addresses", _SLOW_S)
    terminal.type(name)
    terminal.press("Down")
    terminal.type(mac)
    terminal.press("Enter")
    terminal.waits_for(rf"Added {name}\.", _SLOW_S)


def order_capture(terminal: Terminal, row: int, name: str, image: str) -> None:
    """Order the capture of the host in a row of the list into a new image; the console then tells to start the PC."""
    terminal.press("2")
    terminal.waits_for(r"Hosts \d", _SLOW_S)
    terminal.press("c")
    terminal.waits_for("▸ 1 Which PC", _SLOW_S)
    terminal.press("Home", *["Down"] * row, "Enter")
    terminal.waits_for(f"1 Which PC. +{name}", _SLOW_S)
    terminal.press("Down")
    terminal.waits_for("Shut it down properly", _SLOW_S)
    terminal.press("Enter")
    terminal.waits_for("▸ 3 Into which image", _SLOW_S)
    terminal.type(image)
    terminal.waits_for(f"{image}, a new image", _SLOW_S)
    terminal.press("Enter")
    terminal.waits_for("▸ 4 ", _SLOW_S)
    terminal.press("Enter")
    terminal.waits_for("▸ 5 All right", _SLOW_S)
    terminal.press("Enter")
    terminal.waits_for(START_IT, _SLOW_S)


def order_cast(terminal: Terminal, image: str, rows: Sequence[int]) -> None:
    """Order a cast of the only image onto the hosts in these rows of the list, which waits for all of them."""
    terminal.press("d")
    terminal.waits_for("▸ 1 Which image", _SLOW_S)
    terminal.press("Home", "Enter")
    terminal.waits_for(f"1 Which image. +{image}", _SLOW_S)
    terminal.waits_for("▸ 2 Onto which PCs", _SLOW_S)
    for row in rows:
        terminal.press("Home", *["Down"] * row, "Space")
    terminal.waits_for(f"{len(rows)} PCs marked", _SLOW_S)
    terminal.press("Enter")
    terminal.waits_for("▸ 3 All at once", _SLOW_S)
    terminal.waits_for("by cast", _SLOW_S)
    terminal.press("Down", "BSpace")
    terminal.type(str(len(rows)))
    terminal.press("Enter")
    terminal.waits_for("▸ 4 When, and then", _SLOW_S)
    terminal.press("Enter")
    terminal.waits_for("▸ 5 What is lost", _SLOW_S)
    terminal.waits_for(f"Type {len(rows)} below", _SLOW_S)
    terminal.type(str(len(rows)))
    terminal.press("Enter")
    terminal.waits_for(START_IT, _SLOW_S)

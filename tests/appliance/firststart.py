"""The guided first start of a new box, with nothing but the keys of its own screen."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Interface

from tests.appliance.tty import Terminal

LISTEN_S = 90  # for other DHCP servers
RESTART_S = 180  # all services, on an emulated machine
_OLD_VALUE = 20  # more characters than any address has that a field may propose


def run(
    screen: Terminal, own: IPv4Interface, operator: str, password: str, say: Callable[[str], None], *, boot_s: float
) -> None:
    """Set the box up as the DHCP server of a lab in which it has the address `own`. Raises `AssertionError`."""
    screen.waits_for(r"First start +step 1 of", boot_s)
    say("its screen shows the first start")
    screen.press("Enter")
    screen.waits_for(r"▸ 2 ")
    screen.waits_for(r"(?i)no address|/\d\d")
    screen.press("Enter")
    screen.waits_for(r"▸ 3 Which address")
    _give_address(screen, own)
    say(f"it has the address {own}")
    screen.waits_for(r"▸ 4 Who gives addresses", 30)
    screen.waits_for(r"No other DHCP server answers", LISTEN_S)
    screen.press("Enter")
    screen.waits_for(r"▸ 5 Which addresses")
    screen.waits_for(rf"this box is {own.ip}\.")
    screen.press("Enter")
    screen.waits_for(r"▸ 6 Where do images go", 30)
    screen.waits_for(r"/srv/diecast")
    screen.press("Enter")
    screen.waits_for(r"▸ 7 Who are you", 30)
    screen.type(operator)
    screen.press("Down")
    screen.type(password)
    screen.press("Down")
    screen.type(password)
    screen.press("Enter")
    screen.waits_for(r"▸ 8 Does it work", 60)
    say(f"{operator} is its first operator; the services are restarted and tested")
    screen.waits_for(r"Restarted: ", RESTART_S)
    _wait_for_findings(screen)
    screen.press("Enter")
    screen.waits_for(r"This box is set up", 30)
    say("set up")


def _give_address(screen: Terminal, own: IPv4Interface) -> None:
    screen.waits_for(r"Another address")
    screen.press("End", "Enter")
    screen.waits_for(r"Another address for ")
    screen.press("End", *["BSpace"] * _OLD_VALUE)
    screen.type(str(own))
    screen.press("Enter")
    screen.waits_for(rf"has {own} now\. Keep it", 45)
    screen.press("Enter")


def _wait_for_findings(screen: Terminal) -> None:
    """Wait until the test is over; it must have found no problem."""
    screen.waits_for(r"● network ", RESTART_S)
    text = screen.text()
    if "■" in text:
        raise AssertionError(f"The first start's test found a problem:\n{text}")

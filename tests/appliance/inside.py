"""What root sees and does inside the box, through the lab's test-only way in; and whether its services are there."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from tests.appliance.ssh import Way
from tests.lab.boxview import BoxView
from tests.lab.command import LabError, run

SERVICES = ("dhcp", "tftp", "http", "scheduler", "nfs", "cast")
_BACK_S = 60

# Prints the old and the new process id; one round trip, so that the emulated box is not busy with SSH.
_KILL = """
unit=diecast-{name}.service
old=$(systemctl show -P MainPID $unit)
systemctl kill --kill-whom=main --signal=KILL $unit
for second in $(seq 1 {tries}); do
    new=$(systemctl show -P MainPID $unit)
    if [ "$(systemctl is-active $unit)" = active ] && [ "$new" != "$old" ] && [ "$new" != 0 ]; then break; fi
    sleep 0.5
done
echo $old $new $(systemctl is-active $unit)
"""
_PROBE = """
diecast doctor --listen $(ls /sys/class/net | grep -v lo | head -1) >/dev/null 2>&1 &
for tick in $(seq 1 60); do
    if ss -Hlun "sport = :{port}" | grep -q .; then seen=yes; break; fi
    sleep 0.2
done
wait
ss -Hlun "sport = :{port}" | grep -q . && left=yes
echo ${{seen:-no}} ${{left:-no}}
"""


def image_mb(path: Path) -> float:
    """What an image takes on a disk that keeps holes as holes, in 10^6 bytes."""
    return round(path.stat().st_blocks * 512 / 1e6, 1)


def kill(root: Way, name: str) -> float:
    """`kill -9` a service's main process; seconds until another one says that it is ready. Raises `LabError`."""
    began = time.monotonic()
    said = root.run(_KILL.format(name=name, tries=_BACK_S * 2), timeout_s=_BACK_S + 30).split()
    if len(said) != 3 or said[0] in ("0", said[1]) or said[2] != "active":
        raise LabError(f"diecast-{name} was killed and is not back: {' '.join(said)}")
    return time.monotonic() - began


def is_ready(station: Sequence[str], address: str) -> bool:
    """Whether HTTP answers, and loaders come by TFTP: two services that start last."""
    try:
        run([*station, "curl", "-sf", "-m", "3", "-o", "/dev/null", f"http://{address}/healthz"])
        run([*station, "curl", "-sf", "-m", "5", "-o", "/dev/null", f"tftp://{address}/undionly.kpxe"])
    except LabError:
        return False
    return True


def waits_until_ready(station: Sequence[str], address: str, timeout_s: float) -> None:
    """Wait until `is_ready`. Raises `LabError`."""
    deadline = time.monotonic() + timeout_s
    while not is_ready(station, address):
        if time.monotonic() > deadline:
            raise LabError(f"The services of {address} did not answer within {timeout_s:g} s.")
        time.sleep(0.5)


def waits_until_gone(station: Sequence[str], address: str, timeout_s: float) -> None:
    """Wait until nobody answers a ping. Raises `LabError`."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            run([*station, "ping", "-c", "1", "-W", "1", address])
        except LabError:
            return
        if time.monotonic() > deadline:
            raise LabError(f"{address} is still there after {timeout_s:g} s.")
        time.sleep(0.5)


def udp_listeners(root: Way) -> list[int]:
    """UDP ports that have a socket off the loopback and that the packet filter lets the lab reach."""
    reachable = parse_openings(root.run("nft list table inet diecast"))
    return [port for port in parse_listeners(root.run("ss -Hlun")) if port in reachable]


def parse_openings(rules: str) -> set[int]:
    """The UDP ports that rules as nft prints them let the lab begin to speak to."""
    return {int(port) for port in re.findall(r"udp dport (\d+) accept", rules)}


def parse_listeners(text: str) -> list[int]:
    """The ports in what `ss -Hlun` prints, but for those on the loopback."""
    found = set()
    for line in text.splitlines():
        words = line.split()
        address, _, port = words[3].rpartition(":")
        if not address.startswith(("127.", "[::1]")) and port.isdecimal():
            found.add(int(port))
    return sorted(found)


def listens_while_probing(root: Way, port: int) -> list[str]:
    """Whether a port has a listener while other DHCP servers are looked for, and whether it still has one after."""
    return root.run(_PROBE.format(port=port), timeout_s=120).split()


def udp_listeners_in_proxy_mode(box: BoxView, root: Way) -> list[int]:
    """UDP ports with a listener while the box stands beside another DHCP server; it is a full server again after."""
    try:
        box.cli("setting", "set", "dhcp.mode", "proxy")
        box.cli("service", "restart", "dhcp")
        return udp_listeners(root)
    finally:
        box.cli("setting", "unset", "dhcp.mode")
        box.cli("setting", "set", "dhcp.mode", "full")
        box.cli("service", "restart", "dhcp")


def nfs3_answers(station: Sequence[str], address: str) -> bool:
    """Whether a foreign NFSv3 client finds a server: libnfs asks the port mapper for mountd."""
    try:
        run([*station, "timeout", "15", "nfs-ls", f"nfs://{address}/?version=3"])
    except LabError:
        return False
    return True


def security(root: Way) -> tuple[str, dict[str, float]]:
    """systemd's table of how exposed units are, ours alone, and the scores (10 is worst) by unit."""
    table = root.run("systemd-analyze security --no-pager | grep -E '^ *UNIT|diecast'", timeout_s=120)
    return table, parse_scores(table)


def parse_scores(table: str) -> dict[str, float]:
    """Scores by unit in what `systemd-analyze security` prints."""
    return {found[1]: float(found[2]) for found in re.finditer(r"^\s*(diecast\S+)\s+(\d+\.\d)\s", table, re.MULTILINE)}

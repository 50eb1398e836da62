"""What must hold of a report of the appliance, and the report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from tests.appliance.inside import SERVICES
from tests.appliance.story import PCS, Report

TCP_OPEN = [22, 80, 2049]  # SSH, HTTP, NFSv4
UDP_ANSWERING = [67, 123]  # DHCP, NTP: nmap asks in their own protocols (TFTP answers from another port)
UDP_LISTENING = {67, 69, 123, 4021}  # and what PCs answer to a cast
PROXY_PORT = 4011
WORST_SCORE = 2.5  # of 10, by systemd-analyze security
# Ours that listen to the lab.
NETWORK_FACING = tuple(f"diecast-{name}.service" for name in SERVICES)


def faults(report: Report) -> list[str]:
    """Everything that did not hold, in words."""
    return [*report.faults, *_work(report), *ports(report), *units(report), *_starts(report)]


def _work(report: Report) -> Iterator[str]:
    if not report.master_unchanged:
        yield "the master's disk is not what it was"
    if [target.name for target in report.targets] != list(PCS):
        yield "not all PCs were deployed to"
    for target in report.targets:
        if not (target.deployed and target.content_equal and target.by_cast_bytes):
            yield f"{target.name}: deployed {target.deployed}, equal {target.content_equal}"
    if set(report.kills) != set(SERVICES):
        yield f"only {', '.join(report.kills) or 'no service'} was killed"
    if not report.restart_s:
        yield "the box was not restarted during the cast"
    for what in ("ssh", "forwardings", "account", "keys", "viewer"):
        if what not in report.ways_out:
            yield f"nobody tried: {what}"


def ports(report: Report) -> Iterator[str]:
    """What did not hold of ports."""
    found = report.open_ports
    if found.get("tcp") != TCP_OPEN:
        yield f"open TCP ports are {found.get('tcp')}, not {TCP_OPEN}"
    if found.get("udp_answering") != UDP_ANSWERING:
        yield f"UDP ports that answer are {found.get('udp_answering')}, not {UDP_ANSWERING}"
    if not found.get("tftp_gives_loaders"):
        yield "no loader comes by TFTP"
    if not set(found.get("udp_listening", [0])) <= UDP_LISTENING:
        yield f"UDP ports with a listener are {found.get('udp_listening')}, not {sorted(UDP_LISTENING)}"
    if PROXY_PORT not in found.get("proxy_udp_listening", []):
        yield f"in proxy mode nobody listens on {PROXY_PORT}"
    if found.get("68_listens_while_probing") != ["yes", "no"]:
        yield f"port 68 while other servers are looked for, and after: {found.get('68_listens_while_probing')}"
    if found.get("68_idle") != "closed":
        yield f"port 68 is {found.get('68_idle')} for a DHCP server's packets, not closed"
    if found.get("metrics_on_box") != "200" or found.get("metrics_from_lab") not in ("403", "404"):
        yield f"/metrics: {found.get('metrics_on_box')} on the box, {found.get('metrics_from_lab')} from the lab"
    versions = found.get("nfs_versions", "").split()
    if "-3" not in versions or "+4" not in versions or found.get("nfs3_mounts"):
        yield f"NFS versions are {versions}, NFSv3 answers: {found.get('nfs3_mounts')}"


def units(report: Report) -> Iterator[str]:
    """What did not hold of the units' ratings."""
    for unit in NETWORK_FACING:
        score = report.unit_scores.get(unit)
        if score is None or score > WORST_SCORE:
            yield f"{unit}: systemd-analyze security says {score}, not {WORST_SCORE} at most"


def _starts(report: Report) -> Iterator[str]:
    if not report.ready_s:
        yield "nobody timed the box's start"
    if not (report.secure_boot.get("kernel_says_enabled") and report.secure_boot.get("image_verified")):
        yield f"with Secure Boot: {report.secure_boot or 'not started'}"


def table(report: Report) -> str:
    """The result for a terminal."""
    yes = {True: "yes", False: "NO"}
    ports = report.open_ports
    lines = [
        "",
        f"Image: {report.image_mb:.0f} MB; services ready {report.ready_s:.0f} s after the button,"
        f" {report.restart_s:.0f} s after the order to restart",
        f"Master's disk unchanged: {yes[report.master_unchanged]}; Secure Boot:"
        f" {yes[bool(report.secure_boot.get('kernel_says_enabled'))]}",
        f"Open: TCP {ports.get('tcp')}, UDP {ports.get('udp_listening')}",
        "Killed, and back after: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.kills.items()),
        f"{'PC':8} {'deployed':8} {'equal':5} {'seconds':>7} {'MB by cast':>10} {'by NFS':>6}",
    ]
    lines += [
        f"{t.name:8} {yes[t.deployed]:8} {yes[t.content_equal]:5} {t.seconds:7.0f} {t.by_cast_bytes / 1e6:10.0f}"
        f" {t.by_nfs_bytes / 1e6:6.0f}"
        for t in report.targets
    ]
    return "\n".join([*lines, f"Whole run: {report.seconds:.0f} s"])

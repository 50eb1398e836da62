"""What the network screen tells: mode and links in the lines on top, and who is booting right now."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from ipaddress import IPv4Address

from appliance import config, overrides
from appliance.config import Settings, Subnet
from appliance.errors import ApplianceError
from appliance.events import BootStage, LocalBoot
from appliance.model import DhcpServer, Host, Sighting
from appliance.tui import words
from appliance.tui.i18n import N_, _
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, wrap

MODES: dict[str, str] = {
    "full": N_("full DHCP: this box lends addresses"),
    "proxy": N_("proxy DHCP: another server lends addresses, this box adds how to boot"),
    "off": N_("no DHCP: this box answers nobody"),
}
LATELY = timedelta(minutes=15)  # in which another server counts as there: the DHCP service looks every five minutes
BOOTING_FOR = timedelta(minutes=10)  # a PC that came no further is shown for so long ...
ARRIVED_FOR = timedelta(minutes=1)  # ... and one that arrived for so long

# What a PC asks for after each stage; what it did not ask for yet is where it hangs.
_NEXT: dict[BootStage, str] = {
    BootStage.DHCP: N_("loader not asked for yet"),
    BootStage.LOADER: N_("boot script not asked for yet"),
    BootStage.SCRIPT: N_("kernel not asked for yet"),
    BootStage.KERNEL: N_("initrd not asked for yet"),
    BootStage.INITRD: N_("agent not heard yet"),
}


def in_force(base: Settings, snapshot: Snapshot) -> Settings:
    """The settings with what operators changed; as they are in the file while that makes no sense."""
    try:
        values = {
            name.removeprefix(overrides.PREFIX): json.loads(text)
            for name, text in snapshot.settings.items()
            if name.startswith(overrides.PREFIX)
        }
        return config.with_overrides(base, values)
    except (ApplianceError, ValueError):
        return base


class Owners:
    """Who has which MAC and name; made again only when the hosts have changed."""

    def __init__(self) -> None:
        self._source: object = None
        self._by_mac: dict[str, Host] = {}
        self._by_name: dict[str, Host] = {}

    def by_mac(self, snapshot: Snapshot, mac: str) -> Host | None:
        """The host that owns a MAC."""
        self._renew(snapshot)
        return self._by_mac.get(mac)

    def by_name(self, snapshot: Snapshot, name: str) -> Host | None:
        """The host of that name."""
        self._renew(snapshot)
        return self._by_name.get(name)

    def _renew(self, snapshot: Snapshot) -> None:
        if snapshot.hosts is not self._source:
            self._source = snapshot.hosts
            self._by_mac = {mac: host for host in snapshot.hosts for mac in host.macs}
            self._by_name = {host.name: host for host in snapshot.hosts}


# -- booting ----------------------------------------------------------------------------------------------------------


def booting(snapshot: Snapshot) -> list[Sighting]:
    """PCs on their way, and those that arrived a moment ago; the newest first."""
    found = []
    for sighting in snapshot.sightings:
        since = snapshot.at - sighting.at
        if since < (BOOTING_FOR if sighting.stage in _NEXT else ARRIVED_FOR):
            found.append(sighting)
    return found


def waits_for(snapshot: Snapshot, sighting: Sighting, host: Host | None) -> str:
    """What a PC did not ask for yet; `host` is its own, if it is known."""
    text = _NEXT.get(sighting.stage)
    if text is None:
        return _("arrived")
    if host is not None and host.local_boot is LocalBoot.NO_ANSWER and host.id not in snapshot.task_of_host:
        return _("no answer: it starts its own disk")
    return _(text)


# -- the lines on top -------------------------------------------------------------------------------------------------


def head_lines(snapshot: Snapshot, settings: Settings, width: int) -> list[Line]:
    """Mode, links, ranges, and what is wrong."""
    mode = settings.dhcp.mode
    lines: list[Line] = [((" " + _(MODES[mode]), "strong"),)]
    lines += _links(snapshot, settings)
    if mode == "full":
        lines += [_range(snapshot, subnet) for subnet in settings.dhcp.subnet]
    for text, role in warnings(snapshot, settings):
        lines += [((f" {'!' if first else ' '} {part}", role),) for first, part in _parts(text, width - 4)]
    return lines


def _parts(text: str, width: int) -> list[tuple[bool, str]]:
    return [(number == 0, part) for number, part in enumerate(wrap(clean(text), max(20, width)))]


def _links(snapshot: Snapshot, settings: Settings) -> list[Line]:
    links = {link.name: link for link in snapshot.gauges.links}
    lines: list[Line] = []
    for name in settings.network.interfaces:
        link = links.get(name)
        if link is None:
            lines.append(((f" {name}  ", ""), (_("this box has no such interface"), "bad")))
            continue
        speed = f"{words.number(link.speed_mbit)} Mbit/s" if link.speed_mbit else ""
        state = ("", "") if link.up else (_("no link"), "bad")
        lines.append(((f" {name}  {link.address or _('no address')}  {speed}  ", ""), state))
    if not settings.network.interfaces:
        lines.append(((" " + _("No interface is chosen: nobody is answered."), "bad"),))
    return lines


def _range(snapshot: Snapshot, subnet: Subnet) -> Line:
    size = int(subnet.range_last) - int(subnet.range_first) + 1
    lent = sum(
        1
        for lease in snapshot.leases
        if lease.expires > snapshot.at and is_in(lease.address, subnet) and not lease.declined
    )
    text = _("{first} to {last}: {n} of {size} addresses lent").format(
        first=subnet.range_first, last=subnet.range_last, n=words.number(lent), size=words.number(size)
    )
    return ((f" {text}", "bad" if lent >= size else "warn" if lent > size * 0.9 else ""),)


def is_in(address: IPv4Address, subnet: Subnet) -> bool:
    """Whether an address is one of the subnet's range."""
    return subnet.range_first <= address <= subnet.range_last


def heard_lately(snapshot: Snapshot) -> list[DhcpServer]:
    """Other servers that are there now."""
    return [server for server in snapshot.servers if snapshot.at - server.at < LATELY]


def warnings(snapshot: Snapshot, settings: Settings) -> list[tuple[str, str]]:
    """What is wrong on the network and what to do, with a role."""
    found = []
    mode = settings.dhcp.mode
    for server in heard_lately(snapshot) if mode == "full" else ():
        text = _(
            "Another DHCP server, {ip}, answers on {interface}, heard {ago} ago: PCs may get their address from"
            " either. Switch it off there, or set dhcp.mode to proxy and restart the DHCP service."
        )
        ago = words.ago(server.at, snapshot.at)
        found.append((text.format(ip=server.ip, interface=server.interface, ago=ago), "bad"))
    if mode == "proxy" and not snapshot.servers:
        text = _("No other DHCP server was ever heard, and this box lends no addresses: PCs will get none.")
        found.append(
            (text + " " + _("Start the DHCP service, which looks for servers; or set dhcp.mode to full."), "warn")
        )
    if older(snapshot):
        found.append((_("The DHCP service runs with older settings than are set now. Restart it."), "warn"))
    return found


def older(snapshot: Snapshot) -> bool:
    """Whether DHCP or network settings were changed after the DHCP service was started."""
    started = next((state.started for state in snapshot.services if state.name == "dhcp"), None)
    if started is None:
        return False
    marks = tuple(f"{overrides.CHANGED}{section}." for section in ("dhcp", "network"))
    return any(
        at > started for name, text in snapshot.settings.items() if name.startswith(marks) and (at := _moment(text))
    )


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None

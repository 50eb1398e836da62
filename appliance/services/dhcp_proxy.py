"""proxyDHCP: names loaders beside another DHCP server, and never hands out an address.

References: PXE 2.1 sections 2.2 and 2.4 (proxyDHCP on 67, boot server on 4011: the answer goes to the request's source
address and port), UEFI 2.10 section 24.7 (HTTP Boot takes its URL from a proxy answer on 67 as well).
"""

from __future__ import annotations

from ipaddress import IPv4Address

from appliance.boot.firmware import BootServer
from appliance.boot.offer import Boot, boot_server_ack, proxy_offer
from appliance.services.dhcp_directory import Directory
from appliance.services.dhcp_log import Complaints
from appliance.services.dhcp_server import Effects, Link, boot_of, note_sighting
from appliance.system.about import tell
from appliance.wire.dhcp4 import ANY, Destination, Packet, Via, max_reply_bytes, reply_destination
from appliance.wire.dhcp_options import MessageType, Opt, address_of
from appliance.wire.pxe import PxeClient


class ProxyServer:
    """Answers network boots only."""

    def __init__(self, directory: Directory, effects: Effects, complaints: Complaints, *, http_port: int) -> None:
        self._directory, self._effects, self._complaints = directory, effects, complaints
        self._http_port = http_port

    def handle(self, request: Packet, link: Link, source: tuple[str, int]) -> None:
        """Take one message of port 67: a DISCOVER of a firmware is answered, the rest belongs to the other server."""
        if request.message_type is not MessageType.DISCOVER:
            return
        boot = self._boot(request, link)
        if boot is None:
            return
        reply = proxy_offer(request, link.server_id, boot)
        to = reply_destination(request, reply)
        self._effects.send(link, reply.encode(max_reply_bytes(request)), to, request.mac)
        note_sighting(self._effects, self._complaints, boot.client, request.mac, ANY, loader=True)

    def handle_boot_server(self, request: Packet, link: Link, source: tuple[str, int]) -> None:
        """Take one message of port 4011, sent by a firmware that has its address already."""
        if request.message_type not in (MessageType.REQUEST, MessageType.INFORM):
            return
        if address_of(request.options, Opt.SERVER_ID) not in link.own | {None}:
            return  # for another boot server
        boot = self._boot(request, link)
        if boot is None:
            return
        address = IPv4Address(source[0])
        reply = boot_server_ack(request, link.server_id, boot)
        to = Destination(Via.ROUTED, address, source[1])
        self._effects.send(link, reply.encode(max_reply_bytes(request)), to, request.mac, from_boot_server=True)
        note_sighting(self._effects, self._complaints, boot.client, request.mac, address, loader=True)

    def _boot(self, request: Packet, link: Link) -> Boot | None:
        pxe = PxeClient.from_options(request.options)
        if pxe is None:
            return None
        self._directory.refresh()
        host = self._directory.host_of(request.mac, pxe)
        tell(host=host.name if host else "")
        if self._directory.is_silent_for(host, pxe):
            return None
        server = BootServer(link.fetch_from or link.server_id, self._http_port)
        boot = boot_of(server, request.mac, pxe, host)
        if boot is None:
            note_sighting(self._effects, self._complaints, pxe, request.mac, ANY, loader=False)
        return boot

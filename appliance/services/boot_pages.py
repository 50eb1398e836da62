"""What loaders fetch over HTTP: a boot script for each PC, the kernel, the initrd and, for HTTP Boot, the loaders.

| path                                  | what                                                                      |
|---------------------------------------|---------------------------------------------------------------------------|
| /boot/ipxe/MAC, /boot/grub/MAC        | the PC's script; MAC with colons or dashes                                 |
| /boot/m/MAC/vmlinuz, .../initrd.img   | kernel and initrd; the MAC is there so that the PC's stage is recorded     |
| /boot/vmlinuz, /boot/initrd.img       | the same for anybody                                                       |
| /shimx64.efi ..., /grub/grub.cfg      | UEFI HTTP Boot (UEFI 2.10, 24.7): what TFTP serves otherwise               |

Files go out by sendfile(2), with HEAD, ranges and ETag (RFC 9110): GRUB under HTTP Boot asks with HEAD first. HEAD
changes nothing: no stage, no task.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from appliance.boot.decide import BootAnswer, BootKind, decide
from appliance.boot.script import Loader, Subject, grub_entry, render
from appliance.errors import Conflict, UsageError
from appliance.events import BootStage, TaskState
from appliance.model import Host, Sighting, Task, normalise_mac
from appliance.services.http_box import BOX, Box, netloc
from appliance.services.neighbours import mac_of
from appliance.system.about import tell

log = logging.getLogger(__name__)

# Loaders that UEFI HTTP Boot fetches from the root, as TFTP serves them.
LOADERS = ("shimx64.efi", "grubx64.efi", "snponly.efi", "undionly.kpxe")
AGENT_FILES = {"vmlinuz": BootStage.KERNEL, "initrd.img": BootStage.INITRD}

# A running task's agent speaks once a second: a script asked for while it speaks is not that PC starting again.
_AGENT_IS_GONE = timedelta(seconds=10)

_STAGE: dict[BootKind, BootStage] = {
    BootKind.RUN_AGENT: BootStage.SCRIPT,
    BootKind.LOCAL_DISK: BootStage.LOCAL,
    BootKind.REFUSE_SEALED: BootStage.REFUSED,
    BootKind.MENU: BootStage.MENU,
    BootKind.NO_ANSWER: BootStage.SCRIPT,
}


def add_routes(app: web.Application) -> None:
    """Register everything of this module."""
    app.router.add_get("/boot/ipxe/{mac}", _ipxe)
    app.router.add_get("/boot/grub/{mac}", _grub)
    app.router.add_get("/boot/m/{mac}/{file:vmlinuz|initrd\\.img}", _agent_file)
    app.router.add_get("/boot/{file:vmlinuz|initrd\\.img}", _agent_file)
    app.router.add_get("/grub/grub.cfg", _grub_entry)
    for name in LOADERS:
        app.router.add_get(f"/{name}", _loader)
        # shim asks for its second stage as //grubx64.efi: it joins the folder of its own URL and "\\grubx64.efi".
        app.router.add_get(f"//{name}", _loader)


async def _ipxe(request: web.Request) -> web.StreamResponse:
    return await _script(request, Loader.IPXE)


async def _grub(request: web.Request) -> web.StreamResponse:
    return await _script(request, Loader.GRUB)


async def _script(request: web.Request, loader: Loader) -> web.StreamResponse:
    box, mac = request.app[BOX], _mac(request)
    changes = request.method == "GET"
    text = await box.call(script_for, box, mac, loader, netloc(request), request.remote or "", changes=changes)
    return web.Response(text=text, headers={"Cache-Control": "no-store"})


def script_for(box: Box, mac: str, loader: Loader, box_netloc: str, ip: str, *, changes: bool = True) -> str:
    """The script for the PC with `mac`. With `changes` its stage is recorded, and its waiting task is booting now."""
    sighting = box.store.hosts.sighting(mac)
    host = box.store.hosts.identify([mac], sighting.uuid if sighting else None)
    task = box.store.tasks.for_host(host.id) if host else None
    tell(host=host.name if host else "", task=task.id if task else None)
    waiting = box.store.tasks.next_unknown() if host is None else None
    answer = decide(
        host,
        task,
        firmware=_firmware(loader, sighting, host),
        capture_next_waiting=waiting is not None,
        order_open=host is None and bool(box.store.tasks.orders()),
    )
    if changes:
        box.store.hosts.seen(mac, _STAGE[answer.kind], ip=ip, detail=answer.reason)
        log.info("%s (%s) asks as %s: %s, %s", host.name if host else mac, ip, loader, answer.kind, answer.reason)
        _task_boots(box, answer, task)
    subject = Subject(
        mac,
        box_netloc,
        host.name if host else "",
        capture_image=waiting.image_name if waiting else "",
        menu_timeout_s=box.settings.http.menu_timeout_s,
    )
    return render(box.templates, loader, answer, subject)


def _firmware(loader: Loader, sighting: Sighting | None, host: Host | None) -> str:
    if loader is Loader.GRUB:
        return "uefi"  # our GRUB is a UEFI program
    if sighting is not None and sighting.arch is not None:
        return "bios" if sighting.arch == 0 else "uefi"  # option 93, 0: BIOS
    return host.firmware if host and host.firmware else "bios"


def _task_boots(box: Box, answer: BootAnswer, task: Task | None) -> None:
    """The PC is on its way to its task. A task that moved meanwhile is left alone."""
    if answer.kind is not BootKind.RUN_AGENT or task is None:
        return
    came_back = task.state is TaskState.RUNNING and _is_silent(task)
    if task.state is TaskState.WAITING or came_back:
        with suppress(Conflict):
            box.store.tasks.move(task.id, TaskState.BOOTING, text="the PC asked for its boot script")
    elif task.state is TaskState.BOOTING:
        box.store.tasks.heard(task.id)


def _is_silent(task: Task) -> bool:
    return task.last_heard is None or datetime.now(UTC) - task.last_heard > _AGENT_IS_GONE


async def _agent_file(request: web.Request) -> web.StreamResponse:
    box, name = request.app[BOX], request.match_info["file"]
    if "mac" in request.match_info:
        mac = _mac(request)
        if request.method == "GET":
            await box.call(box.store.hosts.seen, mac, AGENT_FILES[name], ip=request.remote or "")
    return await _file(box, box.settings.paths.boot / name)


async def _loader(request: web.Request) -> web.StreamResponse:
    box = request.app[BOX]
    if request.method == "GET":
        await box.call(_loader_fetched, box, request.remote or "", request.path)
    return await _file(box, box.settings.paths.boot / request.path.lstrip("/"))


def _loader_fetched(box: Box, ip: str, name: str) -> None:
    """HTTP Boot names no MAC: it is found by the address, as for TFTP."""
    mac = mac_of(ip, box.store)
    if mac is not None:
        box.store.hosts.seen(mac, BootStage.LOADER, ip=ip, detail=f"{name.lstrip('/')} by HTTP")


async def _grub_entry(request: web.Request) -> web.StreamResponse:
    return web.Response(text=grub_entry(request.app[BOX].templates, netloc_port(request)))


def netloc_port(request: web.Request) -> int:
    """The port at which the client reached us."""
    return int(netloc(request).rpartition(":")[2])


async def _file(box: Box, path: Path) -> web.StreamResponse:
    """A regular file of the boot folder; its name comes from our own tables, never from the request's path."""
    if not await box.call(path.is_file):
        log.warning("%s is not there; run: make agent", path)
        raise web.HTTPNotFound(reason=f"{path.name} is not on this box")
    return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})


def _mac(request: web.Request) -> str:
    try:
        return normalise_mac(request.match_info["mac"])
    except UsageError:
        raise web.HTTPNotFound(reason="no such PC: the path does not hold a MAC address") from None

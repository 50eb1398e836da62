"""The agent API of version 1 (`wire.agentapi` has the table of calls): who may call, and what each call does.

Rules: a token is bound to its task, MAC and IP. 401: no token, or one that this box does not know (the agent checks in
again). 403: a token that was replaced by a later check-in, or that comes from another address or, on our own segment,
from another card (the agent stops). Each call is one plain function, run in one thread hop; calls that are repeated
because an answer was lost do no harm.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from aiohttp import web

from appliance.boot.decide import Purpose
from appliance.errors import Conflict
from appliance.events import BootStage, CastState, TaskKind, TaskState
from appliance.model import Host, Task, normalise_mac
from appliance.services.http_box import BOX, Box, Refusal, read_body, sockname
from appliance.services.neighbours import neighbour
from appliance.system.about import tell
from appliance.wire import agentapi as api

log = logging.getLogger(__name__)

# A check-in finds one of these: the agent may start. VERIFYING belongs to the box until it has decided.
_STARTABLE = frozenset({TaskState.WAITING, TaskState.BOOTING, TaskState.RUNNING})
_EXPORT_RETRY_S = 1
_VERIFY_RETRY_S = 2
_HEARD_EVERY = timedelta(seconds=5)  # a held PC asks every other second; the store need not be told each time
_FIGURE = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, proven by its token."""

    mac: str
    ip: str
    server: str  # our address as the caller reaches it
    task_id: int | None = None  # None: a PC without a task


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a message, bytes, or nothing (204)."""

    body: bytes = b"{}"
    status: int = 200
    content_type: str = "application/json"


Call = Callable[[Box, Caller, bytes], Reply]


def add_routes(app: web.Application) -> None:
    """Register the calls of this module."""
    app.router.add_post(f"{api.PREFIX}/checkin", _check_in)
    for method, path, call in _CALLS:
        app.router.add_route(method, api.PREFIX + path, handler(call))


def handler(call: Call) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a call that needs a token."""

    async def handle(request: web.Request) -> web.StreamResponse:
        box = request.app[BOX]
        body = await read_body(request)
        box.counters.received(len(body))
        token, ip, server = bearer(request), request.remote or "", sockname(request)[0]
        reply = await box.call(lambda: call(box, authorise(box, token, ip, server), body))
        return respond(reply)

    return handle


def respond(reply: Reply) -> web.Response:
    """`reply` as aiohttp wants it."""
    if reply.status == 204:
        return web.Response(status=204)
    return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)


def bearer(request: web.Request) -> str:
    """The token of a request. Raises 401."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not 0 < len(token) <= 256:
        raise Refusal(401, "This call needs a token.", hint="Check in first.")
    return token


def authorise(box: Box, token: str, ip: str, server: str) -> Caller:
    """Who has `token`. Raises 401 for an unknown one, 403 for a replaced one and for another PC's. Blocks."""
    info = box.store.tasks.by_token(token)
    if info is None:
        raise Refusal(401, "This box does not know the token.", hint="Check in again.")
    tell(host=info.host_name, task=info.task_id)
    if info.revoked:
        raise Refusal(403, "This token was replaced by a later check-in.", hint="Start the PC from the network again.")
    if info.ip != ip:
        log.warning("%s used the token of %s (%s)", ip, info.mac, info.ip)
        raise Refusal(403, f"This token was not issued to {ip}.", hint="Start the PC from the network again.")
    card = neighbour(ip)
    if card not in (None, info.mac):
        log.warning("%s (%s) used the token of %s", ip, card, info.mac)
        raise Refusal(403, f"This token was not issued to {card}.", hint="Start the PC from the network again.")
    return Caller(info.mac, ip, server, info.task_id)


def task_id_of(caller: Caller) -> int:
    """The number of the caller's task. Raises `Conflict` (409) for a PC without one."""
    if caller.task_id is None:
        raise Conflict("This PC has no task.")
    return caller.task_id


def task_of(box: Box, caller: Caller, *states: TaskState) -> Task:
    """The caller's task, if it is in one of `states`. Raises `Conflict` (409) otherwise."""
    task = box.store.tasks.get(task_id_of(caller))
    if task.state not in states:
        raise Conflict(f"Task {task.id} is {task.state}{': ' + task.error if task.error else '.'}", hint=task.remedy)
    return task


# -- check-in ----------------------------------------------------------------------------------------------------------


async def _check_in(request: web.Request) -> web.Response:
    box = request.app[BOX]
    who = api.CheckIn.from_json(await read_body(request))
    answer = await box.call(check_in, box, who, request.remote or "")
    return respond(Reply(answer.to_json()))


def check_in(box: Box, who: api.CheckIn, ip: str) -> api.CheckInAnswer:
    """Find out who calls, give it its task if there is one, and a token. Raises `ApplianceError`. Blocks."""
    if who.api_version != api.API_VERSION:
        raise Conflict(
            f"The agent speaks version {who.api_version} of the agent API, this box version {api.API_VERSION}.",
            hint="Build the agent image again: make agent",
        )
    macs, uuid = _marks(who), _uuid(who.uuid)
    mac = macs[0]
    host = box.store.hosts.identify(macs, uuid)
    task = box.store.tasks.for_host(host.id) if host else None
    message = ""
    if host is None:
        host, task, message = _newcomer(box, who, macs, uuid)
    box.store.hosts.seen(mac, BootStage.AGENT, ip=ip, uuid=uuid, detail=f"agent {who.agent_version[:40]}")
    if host is None:
        return _guest(box, who, mac, ip, message)
    tell(host=host.name, task=task.id if task else None)
    box.store.hosts.set_firmware(host.id, "uefi" if who.firmware == "uefi" else "bios", who.secure_boot)
    return _known(box, who, host, task, mac, ip)


def _known(box: Box, who: api.CheckIn, host: Host, task: Task | None, mac: str, ip: str) -> api.CheckInAnswer:
    wants_task = who.purpose != Purpose.INVENTORY
    if wants_task and task is not None and task.state in _STARTABLE:
        task, token = box.store.tasks.checked_in(task.id, ip, mac)
        log.info("%s (%s) checked in for task %s, time %s", host.name, ip, task.id, task.attempts)
        message = f"{task.kind} {task.image_name}"
        return api.CheckInAnswer(token, host.name, has_task=True, sealed=host.sealed, message=message)
    token = box.store.tasks.session_token(mac, ip)
    if wants_task and task is not None and task.is_held:
        message = f"This PC is {host.name} now. It waits until the operator confirms it."
        return api.CheckInAnswer(token, host.name, sealed=host.sealed, message=message, held=True)
    verifying = task is not None and task.state is TaskState.VERIFYING
    message = _without_task(host, verifying=verifying)
    return api.CheckInAnswer(token, host.name, has_task=wants_task and verifying, sealed=host.sealed, message=message)


def _without_task(host: Host, *, verifying: bool) -> str:
    """What a known PC's screen says when there is nothing to start."""
    if verifying:
        return f"The box is still checking the last task of {host.name}."
    if host.sealed:
        return f"{host.name} is SEALED and has no task: its disk must not start before it is captured."
    return f"This PC is {host.name}. It has no task."


def _newcomer(box: Box, who: api.CheckIn, macs: list[str], uuid: UUID | None) -> tuple[Host | None, Task | None, str]:
    """Adopt an unknown PC for what it was started for, and for nothing else.

    Between its boot script and now the orders may have changed. A PC chosen as master must never be deployed to, and
    one that was to be deployed must not become the master; so what waits is looked at again, one PC at a time.
    """
    if who.purpose not in (Purpose.TASK, Purpose.DEPLOY_NEW):
        return None, None, ""
    with box.adopting:
        capture_waits = box.store.tasks.next_unknown() is not None
        if capture_waits != (who.purpose == Purpose.TASK):
            gone = "No capture waits for an unknown PC any more."
            return None, None, "A capture waits for an unknown PC; new PCs wait until then." if capture_waits else gone
        adopted = box.store.tasks.adopt(macs, uuid)
    if adopted is None:
        return None, None, "No new PC is wanted any more."
    tell(host=adopted[0].name, task=adopted[1].id)
    log.info("the unknown PC %s is now %s, task %s", macs[0], adopted[0].name, adopted[1].id)
    return adopted[0], adopted[1], ""


def _guest(box: Box, who: api.CheckIn, mac: str, ip: str, message: str) -> api.CheckInAnswer:
    box.guests.remember(mac, who)
    suggested = box.store.hosts.next_name(box.settings.tasks.name_pattern)
    token = box.store.tasks.session_token(mac, ip)
    return api.CheckInAnswer(token, suggested_name=suggested, message=message or "This PC is not known here.")


def _marks(who: api.CheckIn) -> list[str]:
    """The PC's MACs, the one it booted from first. Raises `UsageError` (422)."""
    return list(dict.fromkeys(normalise_mac(mac) for mac in [who.boot_mac, *who.macs][:64]))


def _uuid(text: str) -> UUID | None:
    """A UUID as the kernel prints it; boards have anything there."""
    try:
        return UUID(text)
    except ValueError:
        return None


# -- a PC without a host ---------------------------------------------------------------------------------------------


def register(box: Box, caller: Caller, body: bytes) -> Reply:
    """Make the caller a host, with the name it asks for or one from the pattern."""
    wish = api.Register.from_json(body)
    who = box.guests.get(caller.mac)
    if who is None:
        raise Refusal(401, "This box was restarted and has forgotten this PC.", hint="Check in again.")
    docks = set(box.store.hosts.dock_macs())
    macs, uuid = [mac for mac in _marks(who) if mac not in docks], _uuid(who.uuid)
    with box.adopting:
        known = box.store.hosts.identify(_marks(who), uuid)
        if known is not None:
            if wish.name.lower() in ("", known.name.lower()):  # the call is repeated: its answer was lost
                return Reply(api.Registered(known.name).to_json())
            raise Conflict(f"This PC is registered already, as {known.name}.")
        name = wish.name or box.store.hosts.next_name(box.settings.tasks.name_pattern)
        firmware = "uefi" if who.firmware == "uefi" else "bios"
        host = box.store.hosts.add(name, macs, uuid=uuid, firmware=firmware, secure_boot=who.secure_boot)
    box.store.audit.record(f"pc {caller.mac}", "register", f"{host.name} from {caller.ip}")
    tell(host=host.name)
    log.info("%s (%s) registered as %s", caller.mac, caller.ip, host.name)
    return Reply(api.Registered(host.name).to_json())


def inventory(box: Box, caller: Caller, body: bytes) -> Reply:
    """Keep what is in the PC; of an unknown PC nothing is kept, its own screen shows it."""
    found = api.Inventory.from_json(body)
    host = _host_of(box, caller)
    if host is not None:
        box.store.hosts.save_inventory(host.id, found.to_dict())
    return Reply()


def _host_of(box: Box, caller: Caller) -> Host | None:
    if caller.task_id is not None:
        host_id = box.store.tasks.get(caller.task_id).host_id
        return box.store.hosts.by_id(host_id) if host_id is not None else None
    who = box.guests.get(caller.mac)
    macs, uuid = (_marks(who), _uuid(who.uuid)) if who else ([caller.mac], None)
    return box.store.hosts.identify(macs, uuid)


# -- a task ----------------------------------------------------------------------------------------------------------


def held(box: Box, caller: Caller, body: bytes) -> Reply:
    """Whether the caller still has to wait for the operator's confirmation; the operator sees that it is there."""
    host = _host_of(box, caller)
    task = box.store.tasks.for_host(host.id) if host else None
    if task is None or not task.is_held:
        return Reply(api.Held(False).to_json())
    if task.last_heard is None or datetime.now(UTC) - task.last_heard > _HEARD_EVERY:
        box.store.tasks.heard(task.id)
    return Reply(api.Held(True).to_json())


def order(box: Box, caller: Caller, body: bytes) -> Reply:
    """What the caller shall do; 503 until its exports are really there, 204 when there is nothing."""
    if caller.task_id is None:
        host = _host_of(box, caller)
        task = box.store.tasks.for_host(host.id) if host else None
        if task is not None and task.state is TaskState.VERIFYING:
            raise Refusal(503, "The box is still checking this PC's last task.", retry_after_s=_VERIFY_RETRY_S)
        if task is not None and task.is_held:  # an agent of an older box does not know `held`
            raise Refusal(503, "The operator has yet to confirm this PC.", retry_after_s=_VERIFY_RETRY_S)
        return Reply(status=204)
    task = box.store.tasks.get(caller.task_id)
    if task.state is TaskState.VERIFYING or task.state.is_final:
        return Reply(status=204)
    if box.store.settings.get(f"nfs.ready.{task.id}") != caller.ip:
        raise Refusal(503, "The exports for this task are not there yet.", retry_after_s=_EXPORT_RETRY_S)
    host = box.store.hosts.by_id(task.host_id) if task.host_id is not None else None
    return Reply(_order(box, task, host, caller.server).to_json())


def _order(box: Box, task: Task, host: Host | None, server: str) -> api.TaskOrder:
    nfs, tasks = box.settings.nfs, box.settings.tasks
    captures = task.kind is TaskKind.CAPTURE
    root = box.store.settings.get("nfs.root")  # what the NFS back end has before every path
    return api.TaskOrder(
        task_id=task.id,
        kind=task.kind,
        image_name=task.image_name,
        host_name=task.host_name,
        chunks=api.NfsExport(server, f"{root}/chunks", nfs.port),
        staging=api.NfsExport(server, f"{root}/staging/{task.id}", nfs.port) if captures else None,
        version_id="" if captures else task.version_id,
        disk=host.disk if host else "",
        after=task.after,
        window_bytes=tasks.window_kib << 10,
        zstd_level=tasks.zstd_level,
        staging_limit_bytes=nfs.staging_limit_mb * 10**6 if captures else 0,
        cast=_cast_order(box, task, server),
    )


def _cast_order(box: Box, task: Task, server: str) -> api.CastOrder | None:
    """Where the task's cast is to be heard; None without one, or when it has ended: then all comes by NFS."""
    cast = None if task.cast_id is None else box.store.casts.get(task.cast_id)
    if cast is None or cast.state is not CastState.OPEN:
        return None
    ports = box.settings.cast
    return api.CastOrder(
        cast.cast_id, task.id, cast.key, str(cast.group), ports.port, server, server_port=ports.feedback_port
    )


def progress(box: Box, caller: Caller, body: bytes) -> Reply:
    """Record how far the agent is; tell it whether to go on."""
    now = api.Progress.from_json(body)
    task_id = task_id_of(caller)
    amounts = max(now.done_bytes, 0), max(now.total_bytes, 0), max(now.rate_bytes_s, 0.0)
    task = box.store.tasks.progress(task_id, now.phase, *amounts)
    if task.state is TaskState.BOOTING:  # someone asked for its script in the PC's name: it never went away
        task = box.store.tasks.move(task_id, TaskState.RUNNING, text="its agent is still there")
    return Reply(api.ProgressAnswer(task.state in (TaskState.CANCELLED, TaskState.FAILED)).to_json())


def add_log(box: Box, caller: Caller, body: bytes) -> Reply:
    """Add lines to the task's log; a PC without a task has none."""
    lines = api.Log.from_json(body).lines
    if caller.task_id is not None:
        box.store.tasks.add_log(caller.task_id, lines)
    return Reply()


def result(box: Box, caller: Caller, body: bytes) -> Reply:
    """The agent's part is over: the box verifies, or the task has failed with the agent's own sentence."""
    end = api.Result.from_json(body)
    task = task_of(box, caller, TaskState.BOOTING, TaskState.RUNNING, TaskState.VERIFYING, TaskState.DONE)
    if task.state in (TaskState.VERIFYING, TaskState.DONE):
        if not end.ok:
            raise Conflict(f"Task {task.id} is {task.state} already.")
        return Reply()  # repeated: the first answer was lost
    if not end.ok:
        sentence = end.error or "The agent failed and gave no reason."
        box.store.tasks.move(task.id, TaskState.FAILED, error=sentence, remedy=end.remedy or "Read the task's log.")
        log.info("task %s failed at %s: %s", task.id, task.host_name, sentence)
        return Reply()
    if task.kind is TaskKind.CAPTURE and not box.uploads.has_manifest(task.id):
        raise Conflict("The capture has no manifest yet.", hint="Upload it before the result.")
    if task.state is TaskState.BOOTING:
        box.store.tasks.move(task.id, TaskState.RUNNING, text="its agent is still there")
    text = _deployed(end) if task.kind is TaskKind.DEPLOY else "uploaded"
    box.store.tasks.move(task.id, TaskState.VERIFYING, text=text)
    return Reply()


def _deployed(end: api.Result) -> str:
    """What a deployment did, by the agent's word. Fetched: compressed, by cast and by NFS."""
    text = f"written {end.written_bytes} bytes, kept {end.reused_bytes}"
    for name, words in (("fetched_bytes", ", fetched {}"), ("by_cast_bytes", ", of it {} by multicast")):
        figure = end.details.get(name, "")
        text += words.format(figure) if _FIGURE.fullmatch(figure) else ""
    return text


def status(box: Box, caller: Caller, body: bytes) -> Reply:
    """Where the task stands."""
    task = task_of(box, caller, *TaskState)
    if not task.state.is_final:
        box.store.tasks.heard(task.id)
    return Reply(api.Status(task.state, task.error, task.remedy).to_json())


_CALLS: tuple[tuple[str, str, Call], ...] = (
    ("POST", "/inventory", inventory),
    ("POST", "/register", register),
    ("GET", "/held", held),
    ("GET", "/task", order),
    ("POST", "/progress", progress),
    ("POST", "/log", add_log),
    ("POST", "/result", result),
    ("GET", "/status", status),
)

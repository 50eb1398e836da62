"""Notices of failed tasks and full disks: by mail, and as JSON to a webhook.

What has happened is made into a notice in the store every `GATHER_S`; it waits there for each way until the other side
has taken it. Each way has its own thread of tries: a mail server that is down holds up no webhook. Who does not take a
notice is tried again after `FIRST_WAIT_S`, then twice as long each time, to `LONGEST_WAIT_S`; after `GIVE_UP` it is
dropped. A notice that was taken is remembered as gone; killed just between the two, it is sent once more under the same
Message-ID or `id`.

What is posted:

    {"id": "<box>-7", "box": "diecast", "at": "2026-11-23T12:00:00+00:00", "test": false, "subject": "...",
     "events": [{"event": "task_failed", "task": 17, "kind": "deploy", "host": "LAB1-01", "image": "win11",
                 "at": "...", "text": "why, one sentence", "remedy": "what to do, one sentence"},
                {"event": "disk", "disk": "images", "state": "full", "free_bytes": 1, "total_bytes": 2,
                 "at": "...", "text": "...", "remedy": "..."}]}

Any 2xx is a yes; redirects are not followed. References: RFC 5321, RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 5322.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from appliance.config import Notify, Settings
from appliance.errors import ApplianceError, Unavailable, UsageError
from appliance.store import Store
from appliance.store.notices import Waiting
from appliance.system import space

log = logging.getLogger(__name__)

MAIL, WEBHOOK = "mail", "webhook"
PASSWORD, TOKEN = "notify.mail_password", "notify.webhook_token"  # names of settings

GATHER_S = 20.0  # PCs of a room that fail together are told of together
FIRST_WAIT_S = 30.0
LONGEST_WAIT_S = 3600.0
GIVE_UP = timedelta(days=3)
_TIMEOUT_S = 8.0  # of one step with the other side; the scheduler has 20 s to end
_ANSWER_CHARS = 160  # of what the other side says
_MOST_LISTED = 40  # events in the text of a mail

_AGAIN = "See: diecast notify test"


@dataclass(frozen=True, slots=True)
class Message:
    """One notice, ready to go."""

    id: str
    at: datetime
    events: tuple[Mapping[str, Any], ...]
    test: bool = False

    @property
    def subject(self) -> str:
        """One line: what has happened."""
        if self.test:
            return f"Diecast on {_box()}: a test"
        failed = [event for event in self.events if event.get("event") == "task_failed"]
        disks = [event for event in self.events if event.get("event") == "disk"]
        parts = []
        if len(failed) == 1:
            parts.append(f"{failed[0]['kind']} of {failed[0]['host'] or 'a new PC'} has failed")
        elif failed:
            parts.append(f"{len(failed)} tasks have failed")
        parts += [f"the disk of the {event['disk']} is {_STATES[event['state']]}" for event in disks]
        return _line(f"Diecast on {_box()}: {', '.join(parts)}")

    @property
    def body(self) -> str:
        """Everything in words, each with its remedy."""
        if self.test:
            return f"This is a test. Failed tasks and full disks of the box {_box()} will be told this way.\n"
        blocks = []
        for event in self.events[:_MOST_LISTED]:
            head = ""
            if event.get("event") == "task_failed":
                head = f"Task {event['task']} ({event['kind']} {event['image']}, {event['host'] or 'a new PC'}): "
            remedy = f"\n  -> {_line(str(event['remedy']))}" if event.get("remedy") else ""
            blocks.append(f"{_line(head + str(event['text']))}{remedy}\n")
        if len(self.events) > _MOST_LISTED:
            blocks.append(f"... and {len(self.events) - _MOST_LISTED} more: diecast task list\n")
        return "\n".join(blocks)

    def as_json(self) -> dict[str, Any]:
        """What a webhook gets."""
        return {
            "id": self.id,
            "box": _box(),
            "at": self.at.isoformat(),
            "test": self.test,
            "subject": self.subject,
            "events": [dict(event) for event in self.events],
        }


_STATES = {space.FULL: "full", space.LOW: "nearly full"}


def _box() -> str:
    return _line(socket.gethostname()) or "diecast"


def _line(text: str) -> str:
    """Text from elsewhere on one line: no header begins in it."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


# -- what is told


def disk_event(found: space.Space, state: str, now: datetime) -> dict[str, Any]:
    """A disk that is getting full, in words."""
    free, total = found.free / 1e9, found.total / 1e9
    text = f"The disk of the {found.what} ({found.folder}) has {free:.1f} GB free of {total:.1f} GB."
    if state == space.FULL and found.what == "images":
        remedy = "Captures fail until there is room: remove images that nobody needs (diecast image remove)."
    elif state == space.FULL:
        remedy = "Nothing more can be recorded soon: free space on the disk of paths.state."
    else:
        remedy = "Remove images that nobody needs: diecast image remove"
    return {
        "event": "disk",
        "disk": found.what,
        "state": state,
        "free_bytes": found.free,
        "total_bytes": found.total,
        "at": now.isoformat(),
        "text": text,
        "remedy": remedy,
    }


def ways(notify: Notify) -> list[str]:
    """The ways that are set up."""
    found = [MAIL] if notify.mail_host and notify.mail_to else []
    return [*found, WEBHOOK] if notify.webhook else found


def gather(settings: Settings, store: Store, *, now: datetime | None = None) -> int:
    """Make a notice of what is new; returns how many events. Raises `Unavailable` when the store does not answer."""
    moment = now or datetime.now(UTC)
    things: dict[str, tuple[str, dict[str, Any]]] = {}
    devices: set[int] = set()
    with suppress(OSError):  # a disk that cannot be measured is for the doctor
        for found in space.spaces(settings):
            if found.device in devices:
                continue  # one disk for both is told of once
            devices.add(found.device)
            name = f"disk {found.what}"
            state = found.state_after(store.notices.state(name))
            things[name] = (state, disk_event(found, state, moment) if state else {})
    return store.notices.gather(ways(settings.notify), things, now=moment)


# -- how it goes


def send(way: str, settings: Settings, store: Store, message: Message) -> None:
    """Send one message one way; blocks. Raises `Unavailable` in words that hold no secret, or `UsageError`."""
    if way == MAIL:
        send_mail(settings.notify, store.notices.secret(PASSWORD), message)
    else:
        asyncio.run(post(settings.notify, store.notices.secret(TOKEN), message))


def send_mail(notify: Notify, password: str, message: Message) -> None:
    """By SMTP. See `send`."""
    server = f"The mail server {notify.mail_host} port {notify.mail_port}"
    if notify.mail_user and not password:
        raise UsageError(
            f"There is no password for {notify.mail_user}.",
            hint="Set it: diecast setting set notify.mail_password --stdin",
        )
    try:
        with _connected(notify) as smtp:
            if notify.mail_security == "starttls":
                smtp.starttls(context=ssl.create_default_context())
            if notify.mail_user:
                smtp.login(notify.mail_user, password)
            refused = smtp.send_message(_mail(notify, message), _sender(notify), list(notify.mail_to))
    except smtplib.SMTPAuthenticationError as error:  # its text may hold what we sent
        raise Unavailable(
            f"{server} refuses the name or password of notify.mail_user (code {error.smtp_code}).",
            hint="Set it again: diecast setting set notify.mail_password --stdin",
        ) from None
    except smtplib.SMTPRecipientsRefused as error:
        raise Unavailable(
            f"{server} takes nothing for {', '.join(error.recipients)}.", hint="Correct notify.mail_to."
        ) from None
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        raise Unavailable(
            f"{server} does not take it: {error.smtp_code} {_line(str(said))[:_ANSWER_CHARS]}.", hint=_AGAIN
        ) from None
    except smtplib.SMTPNotSupportedError:
        raise Unavailable(
            f"{server} cannot do what is wanted: notify.mail_security is '{notify.mail_security}'.",
            hint="Choose another notify.mail_security, or take notify.mail_user back.",
        ) from None
    except ssl.SSLError as error:
        raise Unavailable(
            f"{server} is not to be trusted: {error.reason or error}.",
            hint="Add its authority's certificate to the box (update-ca-certificates), or name it as it is certified.",
        ) from None
    except UnicodeError:  # it would quote what it could not write
        raise UsageError(
            "notify.mail_host, or the name or password for it, has a letter that mail servers do not know.",
            hint="Use letters of ASCII there.",
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        raise Unavailable(f"{server} cannot be reached: {_line(_why(error))}.", hint="Is it running?") from None
    for address in refused:
        log.warning("%s takes nothing for %s; others got the notice", server, address)


def _connected(notify: Notify) -> smtplib.SMTP:
    if notify.mail_security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(notify.mail_host, notify.mail_port, timeout=_TIMEOUT_S, context=context)
    return smtplib.SMTP(notify.mail_host, notify.mail_port, timeout=_TIMEOUT_S)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return f"no answer within {_TIMEOUT_S:.0f} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _sender(notify: Notify) -> str:
    return notify.mail_from or notify.mail_to[0]


def _mail(notify: Notify, message: Message) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = message.subject
    mail["From"] = Address(f"Diecast on {_box()}", addr_spec=_sender(notify))
    mail["To"] = ", ".join(notify.mail_to)
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = f"<{message.id}@diecast.invalid>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail.set_content(message.body)
    return mail


async def post(notify: Notify, token: str, message: Message) -> None:
    """By HTTP. See `send`. The URL's path may hold a secret: only its host is ever said."""
    import aiohttp

    server = f"The webhook at {urlsplit(notify.webhook).hostname}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.post(notify.webhook, json=message.as_json(), allow_redirects=False) as answer,
        ):
            status = answer.status
    except TimeoutError:
        raise Unavailable(f"{server} does not answer within {_TIMEOUT_S:.0f} s.", hint="Is it running?") from None
    except aiohttp.ClientConnectorCertificateError:
        raise Unavailable(
            f"{server} is not to be trusted: its certificate is not valid.",
            hint="Add its authority's certificate to the box (update-ca-certificates).",
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or type(error).__name__
        raise Unavailable(f"{server} cannot be reached: {_line(str(words))}.", hint="Is it running?") from None
    if not 200 <= status < 300:
        raise Unavailable(
            f"{server} does not take it: it answers {status}.",
            hint="Correct notify.webhook, or set notify.webhook_token.",
        )


def trial(now: datetime | None = None) -> Message:
    """What `diecast notify test` sends."""
    moment = now or datetime.now(UTC)
    return Message(f"{_box()}-test-{moment:%Y%m%d%H%M%S}", moment, (), test=True)


# -- in the scheduler's process


class Courier:
    """Takes what waits one way. Its methods block: run them in a thread, one at a time."""

    def __init__(self, way: str, settings: Settings, store: Store) -> None:
        self.way = way
        self._settings = settings
        self._store = store
        self._tries = 0
        self._complaint = ""

    def round(self, *, now: datetime | None = None) -> float:
        """Send what waits, the oldest first. Returns the seconds until the next try."""
        moment = now or datetime.now(UTC)
        try:
            for waiting in self._store.notices.waiting(self.way):
                if moment - waiting.at > GIVE_UP:
                    log.error("a notice of %s was not taken by %s and is dropped", waiting.at, self.way)
                else:
                    send(self.way, self._settings, self._store, self._message(waiting))
                self._store.notices.gone(self.way, waiting.number)
                self._tries = 0
            if not self._tries:
                self._tell("", "")
        except ApplianceError as error:
            self._tries += 1
            self._tell(error.message, error.hint)
            return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._tries - 1, 20)))
        self._tries = 0
        return GATHER_S

    def _message(self, waiting: Waiting) -> Message:
        return Message(f"{_box()}-{waiting.number}-{waiting.at:%Y%m%d%H%M%S}", waiting.at, waiting.events)

    def _tell(self, words: str, remedy: str) -> None:
        if words and words != self._complaint:
            log.warning("no notices by %s: %s", self.way, words)
        elif self._complaint and not words:
            log.info("notices go by %s again", self.way)
        self._complaint = words
        with suppress(ApplianceError):  # the store is away: then that is the trouble
            self._store.notices.trouble(self.way, words, remedy)


async def run(settings: Settings, store: Store, stop: asyncio.Event) -> None:
    """Gather and send until `stop` is set. Never raises."""
    chosen = ways(settings.notify)
    couriers = [Courier(way, settings, store) for way in chosen]
    await asyncio.gather(_gather(settings, store, stop), *(_carry(courier, stop) for courier in couriers))


async def _gather(settings: Settings, store: Store, stop: asyncio.Event) -> None:
    complaint = ""
    while not stop.is_set():
        try:
            await asyncio.to_thread(gather, settings, store)
            complaint = ""
        except ApplianceError as error:
            if str(error) != complaint:
                log.error("%s", error)
            complaint = str(error)
        except Exception:
            log.exception("a defect; notices go on")
        await _sleep(stop, GATHER_S)


async def _carry(courier: Courier, stop: asyncio.Event) -> None:
    while not stop.is_set():
        wait_s = GATHER_S
        try:
            wait_s = await asyncio.to_thread(courier.round)
        except Exception:
            log.exception("a defect; notices go on")
        await _sleep(stop, wait_s)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def way_names(chosen: Sequence[str], notify: Notify) -> dict[str, str]:
    """Way -> where it goes, for people; no URL, whose path may be a secret."""
    where = {
        MAIL: f"{', '.join(notify.mail_to)} by {notify.mail_host}",
        WEBHOOK: str(urlsplit(notify.webhook).hostname),
    }
    return {way: where[way] for way in chosen}

"""Failed tasks and full disks are told once each, by mail and webhook, whatever is down meanwhile.

The mail server and the webhook are real ones on the loopback.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import _MAIL_ADDRESS, Notify, Settings
from appliance.errors import ApplianceError, Unavailable, UsageError
from appliance.events import TaskState
from appliance.services import notify
from appliance.services.notify import MAIL, WEBHOOK, Courier, Message, gather
from appliance.store import Store
from appliance.store import notices as stored
from appliance.system import space
from tests.fakes.smtp import SmtpSink, certificate
from tests.services.http_support import settings_in

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET_WORD = "geheim-7"


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on how full this machine is."""
    monkeypatch.setattr(space, "spaces", lambda settings: iter(()))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings.paths.database) as opened:
        yield opened


def by_mail(settings: Settings, sink: SmtpSink, **more: object) -> Settings:
    values = {
        "mail_host": "127.0.0.1",
        "mail_port": sink.port,
        "mail_security": "none",
        "mail_to": ("ops@lab.example",),
    }
    return dataclasses.replace(settings, notify=Notify(**(values | more)))  # type: ignore[arg-type]


def by_webhook(settings: Settings, url: str) -> Settings:
    return dataclasses.replace(settings, notify=Notify(webhook=url))


def fail(store: Store, name: str, why: str = "Its disk is broken.", remedy: str = "Replace it.") -> int:
    """A capture of a PC of that name that fails."""
    number = len(store.hosts.list())
    host = store.hosts.add(name, [f"52:54:00:aa:00:{number:02x}"])
    task = store.tasks.capture(host, f"image{number}")
    store.tasks.move(task.id, TaskState.FAILED, error=why, remedy=remedy)
    return task.id


@dataclass
class Hook:
    """A webhook that keeps what is posted."""

    status: int = 204
    url: str = ""
    bodies: list[dict[str, object]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization", ""))
        self.bodies.append(await request.json())
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def hooked(hook: Hook) -> AsyncIterator[Hook]:
    app = web.Application()
    app.router.add_post("/hook/k3y", hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/k3y"
    try:
        yield hook
    finally:
        await runner.cleanup()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# -- what is told


def test_tasks_that_failed_before_the_first_look_are_old_news(settings: Settings, store: Store) -> None:
    fail(store, "OLD")
    assert gather(settings, store) == 0
    fail(store, "NEW")
    assert gather(settings, store) == 1


def test_a_failed_task_is_told_once_also_across_restarts(settings: Settings, store: Store) -> None:
    with SmtpSink().listening() as sink:
        chosen = by_mail(settings, sink)
        gather(chosen, store)
        task_id = fail(store, "LAB1-01")
        assert gather(chosen, store) == 1
        Courier(MAIL, chosen, store).round()
        with Store.open(store.path) as after_restart:
            assert gather(chosen, after_restart) == 0
            Courier(MAIL, chosen, after_restart).round()
    (mail,) = sink.mails
    assert sink.recipients == [["ops@lab.example"]]
    assert "capture of LAB1-01 has failed" in mail["Subject"]
    text = mail.get_content()
    assert f"Task {task_id} (capture image0, LAB1-01): Its disk is broken." in text
    assert "-> Replace it." in text
    assert mail["Auto-Submitted"] == "auto-generated"


def test_tasks_that_fail_together_go_in_one_mail(settings: Settings, store: Store) -> None:
    with SmtpSink().listening() as sink:
        chosen = by_mail(settings, sink)
        gather(chosen, store)
        for number in range(notify._MOST_LISTED + 2):
            fail(store, f"LAB1-{number:02}")
        gather(chosen, store)
        Courier(MAIL, chosen, store).round()
    (mail,) = sink.mails
    assert "42 tasks have failed" in mail["Subject"]
    assert mail.get_content().count("Replace it.") == 40
    assert mail.get_content().splitlines()[-1] == "... and 2 more: diecast task list"


def test_what_failed_while_no_way_was_set_up_is_not_told_later(settings: Settings, store: Store) -> None:
    gather(settings, store)
    fail(store, "LAB1-01")
    assert gather(settings, store) == 1
    chosen = by_webhook(settings, "http://127.0.0.1:9/")
    assert gather(chosen, store) == 0
    assert store.notices.waiting(WEBHOOK) == []


@given(st.from_regex(_MAIL_ADDRESS, fullmatch=True))
def test_every_address_that_the_settings_take_can_be_written_into_a_mail(address: str) -> None:
    mail = notify._mail(Notify(mail_from=address, mail_to=(address,)), notify.trial(NOON))
    assert [mail[name].addresses[0].addr_spec for name in ("From", "To")] == [address] * 2
    assert mail.as_bytes()


def test_text_from_a_pc_begins_no_header(settings: Settings, store: Store) -> None:
    with SmtpSink().listening() as sink:
        event = {"event": "task_failed", "task": 1, "kind": "deploy", "host": "A\r\nBcc: x@y.example", "image": "w",
                 "text": "t\r\n.\r\nMAIL FROM:<x>", "remedy": ""}  # fmt: skip
        notify.send_mail(by_mail(settings, sink).notify, "", Message("box-1", NOON, (event,)))
    (mail,) = sink.mails
    assert mail["Bcc"] is None
    assert "A  Bcc: x@y.example" in mail["Subject"]


def test_a_disk_is_told_of_when_it_gets_worse_and_again_only_after_it_had_room(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk(free: int) -> int:
        found = space.Space("images", Path("/srv/diecast"), free, 1000 * 10**9, 10**9)
        monkeypatch.setattr(space, "spaces", lambda _settings: iter([found]))
        return gather(settings, store)

    assert [disk(gigabytes * 10**9) for gigabytes in (500, 99, 98, 101, 99, 1, 1, 150, 99)] == [
        0,
        1,
        0,
        0,
        0,
        1,
        0,
        0,
        1,
    ]


def test_one_disk_for_images_and_store_is_told_of_once(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [space.Space(what, Path("/srv"), 0, 100, 1, device=7) for what in ("images", "store")]
    monkeypatch.setattr(space, "spaces", lambda _settings: iter(both))
    chosen = by_webhook(settings, "http://127.0.0.1:9/")
    gather(chosen, store)
    (waiting,) = store.notices.waiting(WEBHOOK)
    assert [(event["disk"], event["state"]) for event in waiting.events] == [("images", "full")]
    assert "remove images" in waiting.events[0]["remedy"]


# -- mail


def test_a_mail_is_sent_with_starttls_and_a_password(
    settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    store.notices.set_secret(notify.PASSWORD, SECRET_WORD)
    with SmtpSink(tls=context, accounts={"box": SECRET_WORD}).listening() as sink:
        chosen = by_mail(settings, sink, mail_security="starttls", mail_user="box", mail_from="box@lab.example")
        notify.send(MAIL, chosen, store, notify.trial(NOON))
    assert (sink.encrypted, sink.signed_in) == ([True], ["box"])
    assert "box@lab.example" in sink.mails[0]["From"]


def complaint(settings: Settings, store: Store, way: str = MAIL) -> ApplianceError:
    with pytest.raises(ApplianceError) as caught:
        notify.send(way, settings, store, notify.trial(NOON))
    assert SECRET_WORD not in repr(caught.value) + str(caught.value)
    assert caught.value.hint
    return caught.value


def test_a_server_that_nobody_vouches_for_gets_no_password(settings: Settings, store: Store, tmp_path: Path) -> None:
    store.notices.set_secret(notify.PASSWORD, SECRET_WORD)
    with SmtpSink(tls=certificate(tmp_path)[1], accounts={"box": SECRET_WORD}).listening() as sink:
        chosen = by_mail(settings, sink, mail_security="starttls", mail_user="box")
        assert "is not to be trusted" in complaint(chosen, store).message
    assert sink.mails == []


def test_a_server_without_starttls_gets_nothing(settings: Settings, store: Store) -> None:
    store.notices.set_secret(notify.PASSWORD, SECRET_WORD)
    with SmtpSink(accounts={"box": SECRET_WORD}).listening() as sink:
        chosen = by_mail(settings, sink, mail_security="starttls", mail_user="box")
        assert "notify.mail_security is 'starttls'" in complaint(chosen, store).message
    assert sink.mails == []


def test_a_wrong_password_is_named_but_never_said_even_when_the_server_repeats_it(
    settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cert, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    store.notices.set_secret(notify.PASSWORD, SECRET_WORD)
    caplog.set_level(logging.DEBUG)
    with SmtpSink(tls=context, accounts={"box": "another"}).listening() as sink:
        chosen = by_mail(settings, sink, mail_security="starttls", mail_user="box")
        assert "refuses the name or password" in complaint(chosen, store).message
        store.notices.gather([MAIL], {"disk x": ("full", {"event": "disk", "disk": "images", "state": "full"})})
        Courier(MAIL, chosen, store).round()
    assert "refuses the name or password" in caplog.text
    assert SECRET_WORD not in caplog.text + str(store.settings.all("notice."))


def test_a_user_without_a_password_is_a_setting_that_lacks(settings: Settings, store: Store) -> None:
    with pytest.raises(UsageError, match=r"no password for box\..*--stdin"):
        notify.send(MAIL, by_mail(settings, SmtpSink(port=9), mail_user="box"), store, notify.trial(NOON))


def test_a_password_that_mail_cannot_carry_is_not_quoted(
    settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    store.notices.set_secret(notify.PASSWORD, SECRET_WORD + "é")
    with SmtpSink(tls=context, accounts={"box": "x"}).listening() as sink:
        chosen = by_mail(settings, sink, mail_security="starttls", mail_user="box")
        assert "a letter that mail servers do not know" in complaint(chosen, store).message


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"RCPT": "550 who?"}, "takes nothing for ops@lab.example"),
        ({"MAIL": "451 try later"}, "does not take it: 451 try later"),
        ({"DATA": "554 no spam \x1b[2J"}, "does not take it: 554 no spam  [2J"),
    ],
)
def test_a_server_that_refuses_is_quoted(settings: Settings, store: Store, answers: dict[str, str], words: str) -> None:
    with SmtpSink(answers=answers).listening() as sink:
        assert words in complaint(by_mail(settings, sink), store).message


def test_a_server_that_is_down_or_dumb_is_said_so(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        "cannot be reached: Connection refused"
        in complaint(by_mail(settings, SmtpSink(port=closed_port())), store).message
    )
    monkeypatch.setattr(notify, "_TIMEOUT_S", 0.3)
    with SmtpSink(dumb=True).listening() as sink:
        assert "no answer within" in complaint(by_mail(settings, sink), store).message


# -- the webhook


async def test_a_webhook_gets_json_with_its_token(settings: Settings, store: Store) -> None:
    store.notices.set_secret(notify.TOKEN, SECRET_WORD)
    async with hooked(Hook()) as hook:
        chosen = by_webhook(settings, hook.url)
        gather(chosen, store)
        task_id = fail(store, "LAB1-01")
        gather(chosen, store)
        await asyncio.to_thread(Courier(WEBHOOK, chosen, store).round)
    (body,) = hook.bodies
    assert set(body) == {"id", "box", "at", "test", "subject", "events"}
    events = body["events"]
    assert isinstance(events, list)
    (event,) = events
    assert (event["event"], event["task"], event["host"], event["kind"]) == (
        "task_failed", task_id, "LAB1-01", "capture",
    )  # fmt: skip
    assert (event["text"], event["remedy"]) == ("Its disk is broken.", "Replace it.")
    assert hook.tokens == [f"Bearer {SECRET_WORD}"]


def test_the_json_is_as_the_module_documents_it(settings: Settings) -> None:
    documented = notify.__doc__ or ""
    failed = {"event", "task", "kind", "host", "image", "at", "text", "remedy"}
    disk = notify.disk_event(space.Space("images", Path("/srv"), 1, 2, 3), space.FULL, NOON)
    for name in {*notify.trial(NOON).as_json(), *failed, *disk}:
        assert f'"{name}"' in documented, name
    json.dumps(disk)


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_webhook_that_says_no_is_said_so_without_its_path(
    settings: Settings, store: Store, status: int
) -> None:
    async with hooked(Hook(status=status)) as hook:
        error = await asyncio.to_thread(complaint, by_webhook(settings, hook.url), store, WEBHOOK)
    assert error.message == f"The webhook at 127.0.0.1 does not take it: it answers {status}."
    assert len(hook.bodies) == 1, "no redirect is followed"


def test_a_webhook_that_is_down_is_said_so_without_its_path(settings: Settings, store: Store) -> None:
    url = f"http://127.0.0.1:{closed_port()}/hook/k3y"
    error = complaint(by_webhook(settings, url), store, WEBHOOK)
    assert error.message.startswith("The webhook at 127.0.0.1 cannot be reached")
    assert "k3y" not in str(error)


# -- when it is down


def test_a_notice_waits_for_a_server_that_is_down_and_goes_when_it_is_back(
    settings: Settings, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink = SmtpSink(port=closed_port())
    chosen = by_mail(settings, sink)
    gather(chosen, store)
    fail(store, "LAB1-01")
    gather(chosen, store)
    courier = Courier(MAIL, chosen, store)
    waits = [courier.round() for _ in range(9)]
    assert waits[:3] == [30, 60, 120]
    assert max(waits) == notify.LONGEST_WAIT_S == waits[-1]
    assert caplog.text.count("cannot be reached") == 1, "said once"
    words, remedy = store.notices.troubles()[MAIL]
    assert "cannot be reached" in words
    assert remedy
    with sink.listening():
        assert courier.round() == notify.GATHER_S
        assert courier.round() == notify.GATHER_S
    assert len(sink.mails) == 1
    assert store.notices.troubles() == {}
    assert "notices go by mail again" in caplog.text


async def test_a_mail_server_that_is_down_holds_up_no_webhook(settings: Settings, store: Store) -> None:
    async with hooked(Hook()) as hook:
        values = Notify(mail_host="127.0.0.1", mail_port=closed_port(), mail_to=("ops@lab.example",), webhook=hook.url)
        chosen = dataclasses.replace(settings, notify=values)
        assert gather(chosen, store) == 0
        fail(store, "LAB1-01")
        stop = asyncio.Event()
        running = asyncio.create_task(notify.run(chosen, store, stop))
        async with asyncio.timeout(10):
            while not hook.bodies:
                await asyncio.sleep(0.05)
                if store.notices.waiting(WEBHOOK):
                    await asyncio.to_thread(Courier(WEBHOOK, chosen, store).round)
        stop.set()
        await asyncio.wait_for(running, 5)
    assert len(store.notices.waiting(MAIL)) == 1


def test_what_nobody_takes_for_days_is_dropped(settings: Settings, store: Store) -> None:
    chosen = by_mail(settings, SmtpSink(port=closed_port()))
    gather(chosen, store, now=NOON)
    fail(store, "LAB1-01")
    gather(chosen, store, now=NOON)
    courier = Courier(MAIL, chosen, store)
    courier.round(now=NOON + timedelta(days=2))
    assert len(store.notices.waiting(MAIL)) == 1
    courier.round(now=NOON + timedelta(days=4))
    assert store.notices.waiting(MAIL) == []


def test_what_waits_has_a_limit(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MOST", 3)
    for number in range(5):
        store.notices.gather([MAIL], {"disk x": (f"state{number}", {"number": number})})
    assert [waiting.events[0]["number"] for waiting in store.notices.waiting(MAIL)] == [2, 3, 4]


def test_killed_between_taking_and_noting_it_goes_again_under_the_same_id(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(way: str, number: int) -> None:
        raise Unavailable("The store is away.")

    with SmtpSink().listening() as sink:
        chosen = by_mail(settings, sink)
        gather(chosen, store)
        fail(store, "LAB1-01")
        gather(chosen, store)
        with monkeypatch.context() as broken:
            broken.setattr(store.notices, "gone", away)
            Courier(MAIL, chosen, store).round()
        Courier(MAIL, chosen, store).round()
    assert len(sink.mails) == 2
    assert sink.mails[0]["Message-ID"] == sink.mails[1]["Message-ID"]


def test_no_console_reads_secrets_or_what_waits(settings: Settings, store: Store) -> None:
    store.notices.set_secret(notify.PASSWORD, SECRET_WORD)
    store.notices.gather([MAIL], {"disk x": ("full", {"number": 1})})
    seen = dict(store.pictures().read().settings)
    assert list(seen) == ["secret-set.notify.mail_password"]
    assert SECRET_WORD not in str(seen)

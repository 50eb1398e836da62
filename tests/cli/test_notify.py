"""`diecast notify test`: what is set up is tried at once, and what is wrong with it is said."""

from __future__ import annotations

from pathlib import Path

from appliance.store import Store
from tests.cli.conftest import Diecast
from tests.fakes.smtp import SmtpSink


def set_up(config: Path, port: int, webhook: str = "") -> None:
    lines = f'mail_host = "127.0.0.1"\nmail_port = {port}\nmail_security = "none"\nmail_to = ["ops@lab.example"]\n'
    config.write_text(config.read_text() + f'[notify]\n{lines}webhook = "{webhook}"\n')


def test_without_settings_there_is_nothing_to_test(diecast: Diecast) -> None:
    said = diecast("notify", "test")
    assert said.status == 64
    assert "No notices are set up" in said.err


def test_a_test_mail_goes_out_and_is_on_record(diecast: Diecast, config: Path, store: Store) -> None:
    with SmtpSink().listening() as sink:
        set_up(config, sink.port)
        said = diecast("notify", "test")
    assert (said.status, said.out) == (0, "mail: A test was taken for ops@lab.example by 127.0.0.1.\n")
    assert sink.mails[0]["Subject"].endswith(": a test")
    assert [event.action for event in store.audit.list()] == ["notify test"]


def test_each_way_says_what_is_wrong_and_the_path_of_the_webhook_is_not_said(diecast: Diecast, config: Path) -> None:
    with SmtpSink(answers={"MAIL": "451 later"}).listening() as sink:
        set_up(config, sink.port, "http://127.0.0.1:9/hook/k3y")
        said = diecast("notify", "test", "--json")
    assert said.status == 69
    mail, webhook = said.json
    assert "does not take it: 451 later" in mail["error"]
    assert (webhook["where"], webhook["error"][:24]) == ("127.0.0.1", "The webhook at 127.0.0.1")
    assert mail["remedy"]
    assert webhook["remedy"]
    assert "k3y" not in said.out + said.err

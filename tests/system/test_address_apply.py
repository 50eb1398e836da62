"""Root's part of a change of address, with the real systemd-networkd."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.system import address, mailbox
from tests.system.networkd_room import CARD, NetworkdRoom, child_of

pytestmark = pytest.mark.netns
TRIAL, KEPT = f"/run/systemd/network/09-diecast-{CARD}.network", f"/etc/systemd/network/10-diecast-{CARD}.network"
SOON_S = 30.0
# In the namespaces nothing but networkd runs, so what else could manage the card is not asked.
ROOT = """
from pathlib import Path
from appliance.system import address_apply
machine = address_apply.Networkd(refuse=lambda name: None)
address_apply.{verb}(Path({run!r}), machine)
"""


@pytest.fixture
def room(tmp_path: Path) -> Iterator[NetworkdRoom]:
    found = NetworkdRoom(tmp_path / "networkd.log")
    yield found
    found.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "diecast"
    wishes = folder / mailbox.WISHES
    wishes.mkdir(parents=True)
    wishes.chmod(0o750)
    os.chown(wishes, 65534, 0)
    return folder


def begin(room: NetworkdRoom, run: Path, wish: address.Wish) -> subprocess.Popen[str]:
    mailbox.wish(run, address.NAME, wish.plain())
    return room.begin(ROOT.format(verb="carry_out", run=str(run)))


def reaches(run: Path, wish: address.Wish, stage: str) -> address.State:
    """Wait until root says so."""
    until = time.monotonic() + SOON_S
    while time.monotonic() < until:
        state = address.state(run)
        if state is not None and (state.id, state.stage) == (wish.id, stage):
            return state
        time.sleep(0.1)
    pytest.fail(f"{stage} was not reached: {address.state(run)}")


def soon(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + SOON_S
    while not true() and time.monotonic() < until:
        time.sleep(0.1)
    return true()


def says(run: Path, word: str) -> None:
    state = address.state(run)
    assert state is not None
    mailbox.wish(run, address.ANSWER, {"id": state.id, "word": word})


def test_an_address_is_on_trial_until_somebody_keeps_it_and_lasts_from_then_on(room: NetworkdRoom, run: Path) -> None:
    wish = address.typed(CARD, "10.20.4.1/22", "10.20.7.254", "10.20.7.253")
    process = begin(room, run, wish)
    state = reaches(run, wish, address.WAITING)
    assert 50 < state.left_s <= 60
    assert room.addresses() == ["10.20.4.1/22"]
    assert room.file(KEPT) is None  # a power cut now would take it back
    says(run, address.KEEP)
    assert process.wait(SOON_S) == 0
    state = reaches(run, wish, address.KEPT)
    assert state.text == "eth1 has 10.20.4.1/22 from now on."
    assert room.file(TRIAL) is None
    kept = room.file(KEPT)
    assert kept is not None
    assert "Gateway=10.20.7.254\nDNS=10.20.7.253\n" in kept
    assert room.addresses() == ["10.20.4.1/22"]
    assert "default via 10.20.7.254" in room.run("ip", "route")


def test_what_nobody_keeps_is_taken_back_to_the_address_before(room: NetworkdRoom, run: Path) -> None:
    first = address.typed(CARD, "10.20.4.1/22", confirm_s=0)
    assert begin(room, run, first).wait(SOON_S) == 0
    second = address.typed(CARD, "192.168.7.1/24", confirm_s=2)
    process = begin(room, run, second)
    reaches(run, second, address.WAITING)
    assert room.addresses() == ["192.168.7.1/24"]
    assert process.wait(SOON_S) == 0
    state = reaches(run, second, address.UNDONE)
    assert state.text == "Nobody kept 192.168.7.1/24: eth1 has 10.20.4.1/22 again."
    assert room.addresses() == ["10.20.4.1/22"]
    assert "10.20.4.1/22" in (room.file(KEPT) or "")


def test_a_word_for_another_change_does_not_count_and_undo_is_done_at_once(room: NetworkdRoom, run: Path) -> None:
    wish = address.typed(CARD, "10.20.4.1/22")
    process = begin(room, run, wish)
    reaches(run, wish, address.WAITING)
    mailbox.wish(run, address.ANSWER, {"id": "0" * 16, "word": address.KEEP})
    time.sleep(1)
    assert process.poll() is None
    says(run, address.UNDO)
    assert process.wait(SOON_S) == 0
    assert soon(lambda: room.addresses() == [])
    assert room.file(KEPT) is None


def test_a_wish_is_carried_out_once(room: NetworkdRoom, run: Path) -> None:
    wish = address.typed(CARD, "10.20.4.1/22", confirm_s=0)
    assert begin(room, run, wish).wait(SOON_S) == 0
    room.run("rm", KEPT)
    assert room.begin(ROOT.format(verb="carry_out", run=str(run))).wait(SOON_S) == 0
    assert room.file(KEPT) is None


def test_what_a_killed_root_left_on_trial_is_taken_away_by_the_units_last_command(
    room: NetworkdRoom, run: Path
) -> None:
    wish = address.typed(CARD, "10.20.4.1/22")
    process = begin(room, run, wish)
    reaches(run, wish, address.WAITING)
    os.kill(child_of(process.pid), signal.SIGKILL)
    assert process.wait(SOON_S) != 0
    assert room.begin(ROOT.format(verb="settle", run=str(run))).wait(SOON_S) == 0
    state = reaches(run, wish, address.FAILED)
    assert "interrupted, and taken back" in state.text
    assert room.file(TRIAL) is None
    assert soon(lambda: room.addresses() == [])


@pytest.mark.lengthy
def test_a_file_that_networkd_takes_before_ours_is_named_and_nothing_stays(room: NetworkdRoom, run: Path) -> None:
    other = "/etc/systemd/network/01-first.network"
    room.run("sh", "-c", f"printf '[Match]\\nName={CARD}\\n[Network]\\nAddress=10.9.0.1/24\\n' > {other}")
    room.run("networkctl", "reload")
    assert soon(lambda: room.addresses() == ["10.9.0.1/24"])
    wish = address.typed(CARD, "10.20.4.1/22", confirm_s=0)
    assert begin(room, run, wish).wait(SOON_S) != 0
    state = reaches(run, wish, address.FAILED)
    assert state.text == f"{CARD} goes on with {other}, which comes before our file."
    assert (room.file(TRIAL), room.file(KEPT), room.addresses()) == (None, None, ["10.9.0.1/24"])


def test_without_a_dhcp_server_the_wish_for_one_is_refused_and_the_address_stays(room: NetworkdRoom, run: Path) -> None:
    first = address.typed(CARD, "10.20.4.1/22", confirm_s=0)
    assert begin(room, run, first).wait(SOON_S) == 0
    wish = address.typed(CARD, "dhcp")
    code = "from appliance.system import address_apply\naddress_apply._LEASED_S = 3.0\n"
    mailbox.wish(run, address.NAME, wish.plain())
    process = room.begin(code + ROOT.format(verb="carry_out", run=str(run)))
    assert process.wait(SOON_S) != 0
    assert "No DHCP server gave eth1 an address within 3 s." in reaches(run, wish, address.FAILED).text
    assert room.addresses() == ["10.20.4.1/22"]


def test_an_interface_that_is_not_there_is_refused_by_root_too(room: NetworkdRoom, run: Path) -> None:
    wish = address.typed("eth7", "10.20.4.1/22")
    process = begin(room, run, wish)
    assert process.wait(SOON_S) != 0
    assert reaches(run, wish, address.FAILED).text == "There is no interface eth7."

"""The menu's other purposes, with somebody at a real terminal."""

from __future__ import annotations

import os
import pty
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.agent import network
from appliance.agent.consoles import Consoles
from appliance.agent.machine import Machine
from appliance.agent.session import Exit, run
from appliance.wire import agentapi as api
from tests.agent.conftest import MAC, QUICK, write
from tests.agent.test_hardware import card
from tests.fakes.agent_box import FixedBox


class Typist:
    """Somebody at a serial terminal: reads what is there, and types when a question stands there."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.seen = ""
        self._answers: list[tuple[str, str]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def answers(self, question: str, keys: str) -> None:
        """Type `keys` when `question` has appeared behind what was answered before."""
        self._answers.append((question, keys))

    def types(self, keys: str) -> None:
        """Type now, asked or not."""
        os.write(self._master, keys.encode())

    def close(self) -> str:
        """Go away; return everything that was there to be read."""
        self._ended.set()
        self._thread.join()
        return self.seen

    def _run(self) -> None:
        os.set_blocking(self._master, False)
        answered = 0
        while True:
            try:
                self.seen += os.read(self._master, 4096).decode()
                continue
            except OSError:
                if self._ended.is_set():
                    return
                time.sleep(0.01)
            if self._answers and self._answers[0][0] in self.seen[answered:]:
                answered = len(self.seen)
                time.sleep(0.05)
                os.write(self._master, self._answers.pop(0)[1].encode())


@pytest.fixture
def typist(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Typist]:
    """A PC with a network, and somebody at its serial console."""
    card(machine, "eth0", MAC)
    write(
        machine.sys,
        {
            "class/tty/console/active": "ttyS0\n",
            "class/dmi/id/sys_vendor": "Dell Inc.",
            "class/dmi/id/product_name": "OptiPlex",
            "block/sda/size": "1000",
            "block/sda/device/model": "Testdisk",
        },
    )
    address = network.Address("eth0", MAC, IPv4Address("10.20.5.1"), 22)
    monkeypatch.setattr(network, "bring_up", lambda *_: address)
    master, slave = pty.openpty()
    (machine.dev / "ttyS0").symlink_to(os.ttyname(slave))
    somebody = Typist(master)
    yield somebody
    somebody.close()
    os.close(master)
    os.close(slave)


def boot(machine: Machine, box: FixedBox, purpose: str, question_s: float = 10) -> Exit:
    """Start the PC from the menu."""
    line = f"diecast.server=http://127.0.0.1:{box.port} diecast.mac={MAC} diecast.purpose={purpose}"
    write(machine.proc, {"cmdline": line})
    consoles = Consoles.open(machine)
    try:
        return run(machine, replace(QUICK, question_s=question_s), consoles)
    finally:
        consoles.close()


def unknown_pc() -> FixedBox:
    """A box that does not know the PC."""
    box = FixedBox()
    box.host_name, box.suggested_name = "", "LAB1-07"
    return box


def test_enter_takes_the_suggested_name(machine: Machine, typist: Typist) -> None:
    typist.answers("(Enter: LAB1-07): ", "\r")
    with unknown_pc() as box:
        assert boot(machine, box, "register") is Exit.POWER_OFF
    assert box.host_name == "LAB1-07"
    assert [call.body for call in box.calls if call.path == "/register"] == [b'{"name": ""}']
    assert box.check_ins[0].purpose == "register"
    assert "diecast: registered as LAB1-07, powering off" in typist.close()


def test_a_typed_name_wins_and_the_inventory_follows(machine: Machine, typist: Typist) -> None:
    typist.answers("(Enter: LAB1-07): ", "teacherx\x7f\r")
    with unknown_pc() as box:
        assert boot(machine, box, "register") is Exit.POWER_OFF
    assert box.host_name == "teacher"
    assert box.inventories[0].vendor == "Dell Inc."


def test_the_inventory_stands_above_the_question(machine: Machine, typist: Typist) -> None:
    typist.answers("(Enter: LAB1-07): ", "\r")
    with unknown_pc() as box:
        boot(machine, box, "register")
    before = typist.close().partition("Name of this PC")[0]
    assert "diecast: Dell Inc. OptiPlex" in before
    assert "sda" in before
    assert f"card eth0  {MAC}" in before


@pytest.mark.parametrize(("typed", "words"), [("no spaces!", "cannot name a PC"), ("lab-01", "a host lab-01 already")])
def test_a_name_that_cannot_be_is_asked_for_again_with_the_reason(
    machine: Machine, typist: Typist, typed: str, words: str
) -> None:
    typist.answers("(Enter: LAB1-07): ", f"{typed}\r")
    typist.answers("(Enter: LAB1-07): ", "lab-02\r")
    with unknown_pc() as box:
        box.taken_names = {"lab-01"}
        assert boot(machine, box, "register") is Exit.POWER_OFF
    assert box.host_name == "lab-02"
    assert words in typist.close()


def test_nobody_at_the_keyboard_registers_nothing(machine: Machine, typist: Typist) -> None:
    with unknown_pc() as box:
        assert boot(machine, box, "register", question_s=0.5) is Exit.FAILED
    assert box.host_name == ""
    assert "Nobody answered at this PC's keyboard" in typist.close()


def test_a_known_pc_is_not_asked(machine: Machine, typist: Typist) -> None:
    with FixedBox() as box:
        assert boot(machine, box, "register") is Exit.POWER_OFF
    assert "/register" not in box.paths
    assert "registered as lab-01" in typist.close()


def test_a_task_that_waited_for_the_new_host_is_taken_at_once(machine: Machine, typist: Typist) -> None:
    export = api.NfsExport("127.0.0.1", "/chunks")
    typist.answers("(Enter: LAB1-07): ", "\r")
    with unknown_pc() as box:
        box.order = api.TaskOrder(1, "dance", "win11-lab", "LAB1-07", export)
        assert boot(machine, box, "register") is Exit.FAILED
    assert "asks for a 'dance', which this agent cannot do" in box.results[0].error


def test_the_inventory_is_shown_until_enter(machine: Machine, typist: Typist, tmp_path: Path) -> None:
    typist.answers("Press Enter to power off: ", "\r")
    with unknown_pc() as box:
        assert boot(machine, box, "inventory") is Exit.POWER_OFF
    assert "Testdisk" in typist.close()
    assert box.check_ins[0].purpose == "inventory"


def test_what_was_typed_before_the_question_is_no_answer(machine: Machine, typist: Typist) -> None:
    typist.types("junk\r")
    typist.answers("(Enter: LAB1-07): ", "lab-09\r")
    with unknown_pc() as box:
        boot(machine, box, "register")
    assert box.host_name == "lab-09"

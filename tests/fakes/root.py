"""Root's side of the wishes, as a thread: it sets nothing, and says what the real one says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.system import address, image_disk, mailbox, networkd, units


class FakeRoot:
    """What it was asked for, and how it answers."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.begun: list[str] = []  # units
        self.wishes: list[dict[str, Any]] = []
        self.obstacle: ApplianceError | None = None  # why an interface's address is not ours to set
        self.failure = ""  # what goes wrong while it is done
        self.holds = False  # a disk is being copied to, until this is taken back
        self.silent = False  # systemd starts it, and nothing is ever said
        self.kept: Callable[[address.Wish], object] = lambda wish: None  # the address is there
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()

    def refuse(self, interface: str) -> None:
        """As `networkd.refuse_unless_ours`."""
        if self.obstacle is not None:
            raise self.obstacle

    def begin(self, unit: str) -> None:
        """As `units.begin`."""
        self.begun.append(unit)
        name, does = (address.NAME, self._address) if unit == address.UNIT else (image_disk.NAME, self._disk)
        plain = mailbox.wished(self.run, name)
        self.wishes.append(plain)
        if not self.silent:
            thread = threading.Thread(target=does, args=(plain,))
            self._threads.append(thread)
            thread.start()

    def _address(self, plain: dict[str, Any]) -> None:
        wish = address.parse(plain)
        until_s = mailbox.now_s() + wish.confirm_s

        def tell(stage: str, text: str = "") -> None:
            told = {"id": wish.id, "interface": wish.interface, "wanted": wish.words, "hint": "", "until_s": until_s}
            mailbox.report(self.run, address.NAME, {**told, "stage": stage, "text": text})

        tell(address.TRYING)
        if self.failure:
            tell(address.FAILED, self.failure)
            return
        word = address.KEEP
        if wish.confirm_s:
            tell(address.WAITING)
            word = self._word(wish.id, until_s)
        kept = word == address.KEEP
        if kept:
            self.kept(wish)
        text = f"{wish.interface} has {wish.words} from now on." if kept else f"Nobody kept {wish.words}."
        tell(address.KEPT if kept else address.UNDONE, text)

    def _disk(self, plain: dict[str, Any]) -> None:
        wish = image_disk.parse(plain)

        def tell(stage: str, text: str = "", done: int = 0) -> None:
            numbers = {"done_bytes": done, "total_bytes": 2000, "at_s": mailbox.now_s()}
            told = {"id": wish.id, "disk": wish.disk, "stage": stage, "text": text, "hint": ""}
            mailbox.report(self.run, image_disk.NAME, told | numbers)

        tell(image_disk.COPYING, done=500)
        while self.holds and not self._over.is_set():
            time.sleep(0.02)
        if self.failure:
            tell(image_disk.FAILED, self.failure)
        else:
            tell(image_disk.DONE, f"Images lie on {wish.disk} from now on.")

    def _word(self, number: str, until_s: float) -> str:
        while mailbox.now_s() < until_s and not self._over.is_set():
            try:
                plain = mailbox.wished(self.run, address.ANSWER)
            except ApplianceError:
                plain = {}
            if plain.get("id") == number:
                return str(plain["word"])
            time.sleep(0.02)
        return address.UNDO

    def close(self) -> None:
        """Wait for what it does."""
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def fake_root(run: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRoot]:
    """In the place of systemd and networkd, with the folder of wishes there."""
    (run / mailbox.WISHES).mkdir(parents=True, exist_ok=True)
    root = FakeRoot(run)
    monkeypatch.setattr(units, "begin", root.begin)
    monkeypatch.setattr(networkd, "refuse_unless_ours", root.refuse)
    yield root
    root.close()

"""A machine that systemd runs: its programs on PATH, which record how they are called and answer from files."""

from __future__ import annotations

import json
import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.system import units

_SYSTEMCTL = """#!/bin/sh
echo "$*" >> {folder}/systemctl.calls
case " $* " in
*" show "*) cat {folder}/show ;;
*) cat {folder}/refusal >&2; exit "$(cat {folder}/status)" ;;
esac
"""
# With --follow it gives its lines and stays, as the real one does.
_JOURNALCTL = """#!/bin/sh
echo "$*" >> {folder}/journalctl.calls
cat {folder}/journal
case " $* " in *" --follow "*) exec sleep 60 ;; esac
cat {folder}/refusal >&2
exit "$(cat {folder}/status)"
"""


@dataclass(frozen=True, slots=True)
class FakeSystemd:
    """What the fakes answer, and what they were asked."""

    folder: Path

    @classmethod
    def install(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
        """Put it on PATH, with all units active and an empty journal."""
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for name, text in (("systemctl", _SYSTEMCTL), ("journalctl", _JOURNALCTL)):
            path = programs / name
            path.write_text(text.format(folder=shlex.quote(str(folder))))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setattr(units, "_BOOTED", programs)
        fake = cls(folder)
        fake.has_units({name: {} for name in units.SERVICES})
        fake.has_journal([])
        fake.refuses("", 0)
        return fake

    def has_units(self, states: dict[str, dict[str, str]]) -> None:
        """Units by service, each with the properties that are not those of a unit that runs well."""
        usual = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}
        blocks = [
            {"Id": units.unit_of(name)} | usual | {"MainPID": "4711", "Result": "success"} | state
            for name, state in states.items()
        ]
        text = "\n\n".join("\n".join(f"{key}={value}" for key, value in block.items()) for block in blocks)
        (self.folder / "show").write_text(text + "\n")

    def has_journal(self, entries: list[dict[str, Any] | str]) -> None:
        """Lines that journalctl gives, in its order (with --reverse the newest first)."""
        lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
        (self.folder / "journal").write_text("".join(line + "\n" for line in lines))

    def refuses(self, words: str, status: int) -> None:
        """What both say on standard error, and how they end."""
        (self.folder / "refusal").write_text(words)
        (self.folder / "status").write_text(str(status))

    def calls(self, program: str = "systemctl") -> list[list[str]]:
        """The arguments of each call."""
        path = self.folder / f"{program}.calls"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

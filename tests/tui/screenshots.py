"""The pictures of docs/screens, drawn by the program itself from the room of `kit`: `make screens`.

`test_screenshots` fails where a picture is not what the program draws now. The command draws all of them anew.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.config import Dhcp, Network, Settings, Subnet
from appliance.store import Store
from tests.fakes.command_line import FakeCommandLine
from tests.fakes.systemd import FakeSystemd
from tests.tui.kit import console, furnish
from tests.tui.test_images import USAGE

FOLDER = Path(__file__).parents[2] / "docs" / "screens"
_CONSOLE = (80, 25)  # the Linux console
_WINDOW = (120, 36)  # over SSH
_TEXTS = {" ": "space", "-": "minus", "@": "at"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One file of docs/screens: which keys lead to what it shows. `text:...` types."""

    name: str
    keys: tuple[str, ...] = ()
    size: tuple[int, int] = _CONSOLE
    language: str = "en"


PICTURES = (
    Picture("overview"),
    Picture("overview-fr", language="fr"),
    Picture("hosts", ("2", "down", "down", "space", "down", "space")),
    Picture("host", ("2", "down", "down", "enter")),
    Picture("images", ("3",)),
    Picture("tasks", ("4", "down"), _WINDOW),
    Picture("casts", ("5", "tab")),
    Picture("network", ("6",)),
    Picture("system", ("7",)),
    Picture("capture", ("c", "home", "down", "enter", "enter", "text:win11-lab", "enter", "enter")),
    Picture("deploy", ("d", "end", "enter", "g", "enter", "enter", "enter", "enter")),
)
# A box that is set up.
_SETTINGS = Settings(
    network=Network(interfaces=("eth1",)),
    dhcp=Dhcp(
        subnet=(
            Subnet(
                network=IPv4Network("10.20.4.0/22"),
                range_first=IPv4Address("10.20.5.1"),
                range_last=IPv4Address("10.20.7.250"),
            ),
        )
    ),
)


async def draw(picture: Picture, store: Store) -> str:
    """The picture as SVG. Beside the store, in its folder, stand a systemd and a command line that answer."""
    folder = store.path.parent
    command = FakeCommandLine.install(folder / "cli")
    command.answers("image usage", USAGE)
    with pytest.MonkeyPatch.context() as patch:
        FakeSystemd.install(folder / "systemd", patch)
        return await _draw(picture, store, command.command)


async def _draw(picture: Picture, store: Store, command: Sequence[str]) -> str:
    async with console(
        store, size=picture.size, language=picture.language, settings=_SETTINGS, command=command
    ) as seat:
        for key in picture.keys:
            kind, _colon, text = key.partition(":")
            if kind == "text":
                await seat.type(text)
            else:
                await seat.press(key)
        svg = seat.app.export_screenshot(title="diecast tui")
    return _by_itself(svg)


def _by_itself(svg: str) -> str:
    """The picture with fonts of the reader's machine: Rich's own would be loaded from elsewhere."""
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "monospace")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def path_of(picture: Picture) -> Path:
    """Its file."""
    return FOLDER / f"{picture.name}.svg"


def main() -> int:
    """Draw all pictures; files that no picture makes are removed."""
    os.environ.update(TZ="UTC", TERM="linux")
    os.environ.pop("NO_COLOR", None)
    time.tzset()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.svg"):
        if path.stem not in {picture.name for picture in PICTURES}:
            path.unlink()
    for picture in PICTURES:
        with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder, "diecast.sqlite")) as store:
            furnish(store)
            path_of(picture).write_text(asyncio.run(draw(picture, store)))
    print(f"{len(PICTURES)} pictures: {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

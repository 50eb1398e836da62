"""The pictures that the documents show are what the program draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.store import Store
from tests.tui.screenshots import FOLDER, PICTURES, Picture, draw, path_of

ROOT = Path(__file__).parents[2]
COMMAND = "make screens"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
async def test_a_picture_of_the_documents_is_what_the_program_draws(picture: Picture, store: Store) -> None:
    kept = path_of(picture).read_text()
    if await draw(picture, store) != kept:
        pytest.fail(f"{path_of(picture)} shows what was: run {COMMAND}, and look at it before you commit it.")


def test_every_picture_is_shown_somewhere_and_every_picture_shown_is_there() -> None:
    shown: set[str] = set()
    for document in (ROOT / "README.md", ROOT / "docs" / "operating.md"):
        shown |= set(re.findall(r"\((?:docs/)?screens/([a-z-]+)\.svg\)", document.read_text()))
    there = {path.stem for path in FOLDER.glob("*.svg")}
    assert shown == there == {picture.name for picture in PICTURES}

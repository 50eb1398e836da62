"""What root leaves in folders of another user belongs to that user afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.cli.ownership import give_back
from appliance.config import load
from appliance.store import Store
from tests.cli.conftest import Diecast

NOBODY = 65534


def owners(top: Path) -> dict[str, int]:
    found = {path.relative_to(top).as_posix(): path.lstat().st_uid for path in sorted(top.rglob("*"))}
    return {".": top.stat().st_uid, **found}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of another user's, with a file of root's in it, and things that must stay as they are."""
    top = tmp_path / "state"
    (top / "log").mkdir(parents=True)
    (top / "log" / "made-by-root").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").touch()
    os.chown(top, NOBODY, NOBODY)
    return top


def test_what_root_made_is_given_to_whom_the_folder_belongs(tree: Path) -> None:
    third = tree / "staging"
    third.mkdir()
    os.chown(third, 1234, 1234)
    assert give_back([tree, tree / "nowhere"]) == 2
    assert owners(tree) == {".": NOBODY, "log": NOBODY, "log/made-by-root": NOBODY, "staging": 1234}
    assert give_back([tree]) == 0


def test_nothing_outside_is_reached_by_a_link_whatever_its_kind(tree: Path) -> None:
    elsewhere = tree.parent / "elsewhere"
    (tree / "folder").symlink_to(elsewhere)
    (tree / "file").symlink_to(elsewhere / "secret")
    os.link(elsewhere / "secret", tree / "hard")
    give_back([tree])
    assert owners(elsewhere) == {".": 0, "secret": 0}
    assert (tree / "folder").lstat().st_uid == NOBODY, "the link itself is nobody's harm"


def test_a_folder_of_roots_own_stays_so(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert give_back([tmp_path]) == 0
    assert owners(tmp_path) == {".": 0, "x": 0}


def test_a_command_of_roots_leaves_nothing_that_the_services_cannot_write(diecast: Diecast, config: Path) -> None:
    paths = load(config).paths
    Store.open(paths.database).close()
    for folder in (paths.state, paths.images):
        folder.mkdir(exist_ok=True)
        os.chown(folder, NOBODY, NOBODY)
    assert diecast("host", "add", "PC1", "--mac", "52:54:00:aa:01:01").status == 0
    assert set(owners(paths.state).values()) == {NOBODY}
    assert diecast("image", "verify", "--all").status == 0
    assert set(owners(paths.images).values()) == {NOBODY}, "the image store's folders and its lock"

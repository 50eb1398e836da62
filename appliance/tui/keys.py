"""One table of keys: the same key means the same on every screen.

A screen names the meanings it has (`KEYS = keys.take("add", "edit")`) and a method for each (`do_add`, `do_edit`).
Footer, help, palette and bindings come from here. A screen may say more exactly what a meaning is there
(`keys.named("stop", N_("Cancel"), N_("End the task"))`), never give it another key.

`need` says who may: nobody is asked who only looks; `operator` changes hosts, tasks, images; `admin` changes the box.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from appliance.tui.i18n import N_

OPERATOR, ADMIN = "operator", "admin"


@dataclass(frozen=True, slots=True)
class Key:
    """A key and what it means. `label` (footer) and `words` (help, palette) are message ids."""

    name: str
    key: str  # as Textual names it; several with commas
    shown: str  # as the operator reads it; a message id where it is a word
    label: str
    words: str
    need: str = ""


# Everywhere.
GLOBAL: tuple[Key, ...] = (
    Key("capture", "c", "c", N_("Capture"), N_("Capture a master: a guided job"), OPERATOR),
    Key("deploy", "d", "d", N_("Deploy"), N_("Deploy an image to PCs: a guided job"), OPERATOR),
    Key("new_pcs", "n", "n", N_("New PCs"), N_("Deploy to new PCs as they boot: a guided job"), OPERATOR),
    Key("find", "slash", "/", N_("Find"), N_("Find: type some letters of what you look for")),
    Key("palette", "ctrl+p", "^P", N_("Commands"), N_("Every action, host and image by name")),
    Key("help", "question_mark,f1", "?", N_("Help"), N_("Help on this screen")),
    Key("language", "ctrl+l", "^L", N_("Language"), N_("English or French, at once")),
    Key("theme", "ctrl+t", "^T", N_("Colours"), N_("Sixteen colours, monochrome or high contrast")),
    Key("back", "escape", N_("Esc"), N_("Back"), N_("Back; away from a filter, a page or a dialog")),
    Key("leave", "q,ctrl+c,ctrl+q", "q", N_("Leave"), N_("Lock or leave the console")),
)

# In lists; the list itself does them.
LIST: tuple[Key, ...] = (
    Key("move", "up,down", N_("arrows"), N_("Move"), N_("Move the cursor; PgUp, PgDn, Home and End too")),
    Key("open", "enter", N_("Enter"), N_("Open"), N_("Show what the cursor is on")),
    Key("mark", "space", N_("Space"), N_("Mark"), N_("Mark or unmark the row, to choose several")),
    Key("mark_all", "asterisk", "*", N_("All"), N_("Mark all rows shown, or none")),
    Key("sort", "s", "s", N_("Sort"), N_("Sort by the next column")),
    Key("reverse", "S", "S", N_("Reverse"), N_("Turn the order round")),
    Key("pane", "tab", N_("Tab"), N_("Next part"), N_("To the next part of the screen; Shift+Tab to the one before")),
)

# What screens do with their things.
OWN: tuple[Key, ...] = (
    Key("add", "a", "a", N_("Add"), N_("Add one"), OPERATOR),
    Key("edit", "e", "e", N_("Edit"), N_("Edit what the cursor is on"), OPERATOR),
    Key("remove", "x,delete", "x", N_("Remove"), N_("Remove what is chosen; it says first what is lost"), OPERATOR),
    Key("import_list", "i", "i", N_("Import"), N_("Import from a file"), OPERATOR),
    Key("export", "o", "o", N_("Export"), N_("Export into a file")),
    Key("history", "h", "h", N_("History"), N_("What happened to it, step by step")),
    Key("log", "l", "l", N_("Log"), N_("Its log")),
    Key("follow", "f", "f", N_("Follow"), N_("Follow: keep the newest line in sight")),
    Key("start", "t", "t", N_("Start"), N_("Start it now"), OPERATOR),
    Key("stop", "k", "k", N_("Stop"), N_("Stop it"), OPERATOR),
    Key("again", "r", "r", N_("Again"), N_("Do it once more"), OPERATOR),
    Key("verify", "v", "v", N_("Verify"), N_("Read it again and check every byte"), OPERATOR),
    Key("wake", "w", "w", N_("Wake"), N_("Wake over the network"), OPERATOR),
    Key("group", "g", "g", N_("Room"), N_("Put what is chosen into a room"), OPERATOR),
    Key("seal", "z", "z", N_("Seal"), N_("Seal: no start from its own disk before its capture"), OPERATOR),
    Key("limit", "m", "m", N_("Limit"), N_("Limit its rate"), OPERATOR),
    Key("prefer", "p", "p", N_("Prefer"), N_("Serve it before the others"), OPERATOR),
    Key("begin", "b", "b", N_("Begin"), N_("Begin now, wait for nobody more"), OPERATOR),
    Key("join", "j", "j", N_("Join"), N_("Let a PC join"), OPERATOR),
    Key("show", "u", "u", N_("Show"), N_("Show less or more")),
    Key("watch", "y", "y", N_("Watch"), N_("Watch it live")),
)

TABLE: dict[str, Key] = {key.name: key for key in (*GLOBAL, *LIST, *OWN)}


def take(*names: str) -> tuple[Key, ...]:
    """The keys with these meanings, as a screen lists them."""
    return tuple(TABLE[name] for name in names)


def named(name: str, label: str, words: str, *, need: str | None = None) -> Key:
    """A meaning as one screen words it. Key and name stay; `need` may be stricter or looser."""
    key = TABLE[name]
    return dataclasses.replace(key, label=label, words=words, need=key.need if need is None else need)

"""The console's French catalogue: what must be in it, and the program that brings it up to date.

    python -m tests.tui.catalogue          adds what is missing, empty; drops what nobody says any more
    python -m tests.tui.catalogue --left   lists what has no French yet

Two kinds of texts. The console's own stand in `_()`, `N_()` and `ngettext()`. Sentences that other parts write (errors
with their remedies, what a task or service says) are found as templates: an f-string's names become `{names}`. Their
context in the catalogue is `store` (`appliance.tui.sentences` turns them round).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from appliance import config_keys, errors
from appliance.events import CastState, ServiceHealth, TaskKind, TaskState
from appliance.store.notices import SECRETS
from appliance.tui.i18n import LOCALE_DIR, STORE_CONTEXT

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "appliance"
FRENCH = LOCALE_DIR / "fr" / "LC_MESSAGES" / "diecast.po"

# Where sentences come from that a console can show: through the store, or as errors of the verbs it calls. The command
# line speaks for itself, but the console shows what its doctor finds.
SPEAKING: tuple[str, ...] = (
    "model.py", "config.py", "config_keys.py", "overrides.py", "host_fields.py", "hosts_csv.py", "hosts_import.py",
    "store", "engine", "disk", "agent", "services", "system", "backup",
    "tui", "cast", "cli/checks",
)  # fmt: skip
_ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
_PHASES = {"EngineProgress"}  # calls whose first argument says what a PC is at
_FINDINGS = {"Finding"}  # calls that say one thing in each argument
# Variables, arguments and fields that hold what is said to an operator.
_SAYS = {"text", "words", "why", "error", "remedy", "hint", "message", "phase", "reason", "complaint"}

_SINCE = datetime(2026, 11, 23, tzinfo=UTC)  # a date that moved would make every update a change


def _article(what: str) -> str:
    return "an" if what[0] in "aeio" else "a"


# Parts of sentences that stand in tables or are put together; the tests keep them in step with the sources.
PARTS: tuple[str, ...] = (
    "task {id} ({kind} {image}, {state})",
    "Task {id} ({kind} {image}, {state})",
    "Line {line} has {what} already.",
    "To rename that: diecast host edit {name} --name",
    "It has neither a MAC address nor a sound UUID.",
    "without its UUID, which many have",
    # what a PC is at, as its agent says it
    "writing",
    "writing, {mode}",
    "capturing",
    "does not answer ({error})",
    "does not answer ({error}) for {minutes} min",
    "is not ready ({status})",
    "is not ready ({status}) for {minutes} min",
    # pieces of sentences about images
    "its manifest",
    "the file {name}",
    "{size} bytes in {files} files",
    "more than {number} files",
    ", of which {reserve_bytes} are kept free,",
    "missing",
    "committed as {image}@{number}",
    "the content equals {image}@{number}: no new version",
    "The NTFS volume is marked dirty, so its bitmap may be out of date.",
    "not installed",
    "the kernel's NFS server",
    "any NFS server",
    # who takes notices
    "The mail server {host} port {port}",
    "The webhook at {host}",
    # what needs a name (`model.check_name`)
    *(f"{article} {what}" for what in ("host", "image", "operator", "PC") for article in ("the", _article(what))),
    # what a setting must be
    "true or false",
    "a whole number",
    "a number",
    "text in quotes",
    "a path in quotes",
    "an IPv4 address in quotes",
    "a subnet such as '10.20.4.0/22' (no host bits set)",
    "one of {choices}",
    "a whole number from {low} to {high}",
    "a number from {low} to {high}",
    *(str(word) for kind in (TaskState, TaskKind, CastState, ServiceHealth) for word in kind),
)


@dataclass
class Messages:
    """What is said: message id (and its plural) to the files that say it."""

    own: dict[str, set[str]] = field(default_factory=dict)
    plurals: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    sentences: dict[str, set[str]] = field(default_factory=dict)


@cache
def found() -> Messages:
    """Everything in the sources."""
    messages = Messages()
    for path in sorted((PACKAGE / "tui").rglob("*.py")):
        _own(ast.parse(path.read_text(encoding="utf-8")), _where(path), messages)
    for path in speaking_files():
        says = () if "tui" in path.parts else _SAYS
        for template in templates(ast.parse(path.read_text(encoding="utf-8")), says):
            messages.sentences.setdefault(template, set()).add(_where(path))
    for part in PARTS:
        messages.sentences.setdefault(part, set()).add("tests/tui/catalogue.py")
    for part in _tables():
        messages.sentences.setdefault(part, set()).add("appliance/store/database.py")
    for doc in SECRETS.values():
        messages.sentences.setdefault(doc, set()).add("appliance/store/notices.py")
    for key in config_keys.all_keys():
        messages.sentences.setdefault(key.doc, set()).add("appliance/config.py")
    return messages


def speaking_files() -> list[Path]:
    """The modules of `SPEAKING`."""
    paths: list[Path] = []
    for name in SPEAKING:
        path = PACKAGE / name
        paths += sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.is_file() else []
    return [path for path in paths if not re.match(r"m\d+_", path.name)]  # migrations speak SQL


def _where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tables() -> Iterator[str]:
    from appliance.store import database

    for _sign, _kind, sentence, remedy in database._EXPLANATIONS:
        yield sentence
        yield remedy


def _own(tree: ast.Module, where: str, messages: Messages) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in ("_", "N_"):
            text = _constant(node.args[0])
            if text:
                messages.own.setdefault(text, set()).add(where)
        elif node.func.id == "ngettext":
            one, many = _constant(node.args[0]), _constant(node.args[1])
            if one is None or many is None:
                raise ValueError(f"{where}:{node.lineno}: ngettext needs two texts")
            messages.plurals.setdefault(one, (many, set()))[1].add(where)


def _constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def templates(tree: ast.AST, says: Container[str]) -> Iterator[str]:
    """The sentences of a module: its errors, and what is called or given as one of the names in `says`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if _called(node) in _error_names() | _PHASES and node.args:
                yield from _of(node.args[0])
            elif _called(node) in _FINDINGS and says:
                for said in node.args:
                    yield from _of(said)
            for argument in node.keywords:
                if argument.arg in (says or ("hint",)):
                    yield from _of(argument.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
                if name in says:
                    yield from _of(node.value)
                elif says and name.isupper():
                    yield from (
                        text for text in _of(node.value) if " " in text and isinstance(node.value, ast.Constant)
                    )


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


@cache
def _error_names() -> frozenset[str]:
    """Our error classes and their subclasses anywhere in the package, by name."""
    names = set(_ERRORS)
    bases: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
    while grown := {name for name, above in bases.items() if names & set(above)} - names:
        names |= grown
    return frozenset(names)


def _of(node: ast.expr) -> Iterator[str]:
    """The templates of an expression: constants, f-strings, sums of them, either branch of a choice."""
    if isinstance(node, ast.IfExp):
        yield from (*_of(node.body), *_of(node.orelse))
        return
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _of(value)
        return
    text = _template(node, {})
    if text and _says_something(text):
        yield text.strip()


def _template(node: ast.expr, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_piece(value, names) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _template(node.left, names), _template(node.right, names)
        return None if left is None or right is None else left + right
    return None


def _piece(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.FormattedValue)
    shown = ast.unparse(node.value)
    if shown not in names:
        words = re.sub(r"[^a-z0-9]+", "_", shown.lower().replace("self.", "")).strip("_")[:24].strip("_") or "value"
        words = words if words[0].isalpha() else f"n_{words}"
        taken = set(names.values())
        name, number = words, 1
        while name in taken:
            number += 1
            name = f"{words}_{number}"
        names[shown] = name
    return "{" + names[shown] + "}"


def _says_something(text: str) -> bool:
    """Not just names in braces, a path or a format."""
    if "%s" in text or "\n" in text.strip():  # for a log, or a whole page
        return False
    literal = re.sub(r"\{\w+\}", "", text)
    return len(re.findall(r"[A-Za-z]{2,}", literal)) >= 2 or text in PARTS


# -- the catalogue


def read() -> Catalog:
    """The French catalogue as it is in git."""
    if not FRENCH.is_file():
        return Catalog(locale="fr")
    with FRENCH.open("rb") as file:
        return read_po(file, locale="fr")


def updated(old: Catalog) -> Catalog:
    """`old` with what is missing, and without what nobody says any more."""
    messages = found()
    new = Catalog(locale="fr", project="Diecast", copyright_holder="", msgid_bugs_address="", fuzzy=False)
    new.header_comment = "# Diecast's console in French. Brought up to date by: python -m tests.tui.catalogue"
    new.creation_date = new.revision_date = _SINCE
    for text, files in sorted(messages.own.items()):
        known = old.get(text)
        new.add(text, _string(known), locations=_locations(files))
    for one, (many, files) in sorted(messages.plurals.items()):
        known = old.get(one)
        strings = known.string if known is not None and isinstance(known.string, tuple) else ("", "")
        new.add((one, many), strings, locations=_locations(files))
    for text, files in sorted(messages.sentences.items()):
        known = old.get(text, context=STORE_CONTEXT)
        new.add(text, _string(known), locations=_locations(files), context=STORE_CONTEXT)
    return new


def _string(message: object) -> str:
    text = getattr(message, "string", "")
    return text if isinstance(text, str) else ""


def _locations(files: set[str]) -> list[tuple[str, int]]:
    return [(name, 0) for name in sorted(files)]


def write(catalogue: Catalog) -> None:
    """Write it as it stands in git: no line numbers, which would change with every edit."""
    FRENCH.parent.mkdir(parents=True, exist_ok=True)
    with FRENCH.open("wb") as file:
        write_po(file, catalogue, width=110, include_lineno=False, sort_output=False, omit_header=False)


def left(catalogue: Catalog) -> list[str]:
    """What has no French yet."""
    return [
        str(message.id)
        for message in catalogue
        if message.id and (not message.string or (isinstance(message.string, tuple) and not all(message.string)))
    ]


def main(words: list[str]) -> int:
    catalogue = updated(read())
    if "--left" in words:
        print("\n".join(left(catalogue)))
        return 0
    write(catalogue)
    total = len(catalogue)
    print(f"{FRENCH.relative_to(ROOT)}: {total} texts, {len(left(catalogue))} without French")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

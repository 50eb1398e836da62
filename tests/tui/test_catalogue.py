"""The French catalogue: complete, in step with the sources, and fit to be put together.

After a change of texts: `python -m tests.tui.catalogue` adds the new ones to the .po, then they want French.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.tui import i18n
from appliance.tui.widgets.glyphs import drawable
from tests.tui import catalogue

CONSOLE = sorted({name for files in catalogue.found().own.values() for name in files})
SPEAKERS = sorted({name for files in catalogue.found().sentences.values() for name in files})
_NAME = re.compile(r"\{(\w+)\}")


def translated() -> i18n.Catalogue:
    return i18n.catalogue("fr")


@pytest.mark.parametrize("name", CONSOLE)
def test_every_text_of_the_console_has_its_french(name: str) -> None:
    messages, french = catalogue.found(), translated()
    texts = [text for text, files in messages.own.items() if name in files and text not in french.texts]
    plurals = [one for one, (_many, files) in messages.plurals.items() if name in files and one not in french.plurals]
    assert texts + plurals == []


@pytest.mark.parametrize("name", SPEAKERS)
def test_every_sentence_that_the_console_can_show_has_its_french(name: str) -> None:
    messages, french = catalogue.found(), translated()
    assert [text for text, files in messages.sentences.items() if name in files and text not in french.sentences] == []


def test_the_catalogue_holds_nothing_that_nobody_says() -> None:
    messages = catalogue.found()
    held = catalogue.read()
    assert list(held.obsolete) == []
    for message in held:
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        if isinstance(message.id, tuple | list):
            assert message.id[0] in messages.plurals
        elif message.context:
            assert message.id in messages.sentences, message.id
        else:
            assert message.id in messages.own, message.id


def test_french_has_the_names_that_english_has() -> None:
    french = translated()
    pairs = [*french.texts.items(), *french.sentences.items()]
    pairs += [(one, form) for one, forms in french.plurals.items() for form in forms]
    wrong = [text for text, other in pairs if set(_NAME.findall(text)) != set(_NAME.findall(other))]
    assert wrong == []


def test_french_is_written_with_the_signs_that_console_fonts_have() -> None:
    french = translated()
    texts = [
        *french.texts.values(),
        *french.sentences.values(),
        *(f for forms in french.plurals.values() for f in forms),
    ]
    assert [text for text in texts if not all(map(drawable, text.replace("\n", "")))] == []


def test_english_is_written_with_the_signs_that_console_fonts_have() -> None:
    messages = catalogue.found()
    assert [text for text in (*messages.own, *messages.plurals) if not all(map(drawable, text))] == []


def test_the_tables_that_make_sentences_from_parts_are_as_the_catalogue_thinks() -> None:
    source = (catalogue.PACKAGE / "store" / "lifecycle.py").read_text(encoding="utf-8")
    assert 'f"task {task.id} ({task.kind} {task.image_name}, {task.state})"' in source
    phases = {part for part in catalogue.found().sentences if part in ("writing", "looking at the disk", "capturing")}
    assert len(phases) == 3
    for phase in ("writing", "capturing"):
        assert f'"{phase}"' in "".join(path.read_text("utf-8") for path in (catalogue.PACKAGE / "engine").glob("*.py"))
    for name in catalogue.SPEAKING:
        assert (catalogue.PACKAGE / name).exists(), name


def test_the_language_file_is_text_and_nothing_compiled_lies_beside_it() -> None:
    assert [path.name for path in Path(i18n.LOCALE_DIR).rglob("*") if path.is_file()] == ["diecast.po"]


@pytest.mark.parametrize("path", sorted((catalogue.PACKAGE / "tui").rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_of_the_console_holds_a_sign_that_fonts_lack(path: Path) -> None:
    import ast

    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    strange = {char for text in texts for char in text if char not in "\n\t\0" and not drawable(char)}
    replaced = (
        set("…’–œ\N{SOFT HYPHEN}\N{NARROW NO-BREAK SPACE}") if path.name == "glyphs.py" else set()
    )  # what it puts others in place of
    assert strange <= replaced

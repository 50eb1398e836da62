"""The console's languages: catalogues in memory, switched in place.

`_("text")` at the place where a text is drawn, never where it is stored: then a switch of language needs nothing but
a redraw. Tables that hold texts mark them with `N_("text")`, which returns them as they are.

The catalogue is `locale/<language>/LC_MESSAGES/diecast.po`, read by Babel at the first use of the language; nothing
compiled is kept. Entries with the context `store` are sentences that other parts of the program wrote in English
(`appliance.tui.sentences`). Console fonts have Latin-1 only: the typographic signs of translations are held to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

LANGUAGES: dict[str, str] = {"en": "English", "fr": "Français"}
LOCALE_DIR = Path(__file__).parent.parent / "locale"
STORE_CONTEXT = "store"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One language: its texts, and how it writes numbers and dates."""

    language: str
    texts: Mapping[str, str] = field(default_factory=dict)
    plurals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sentences: Mapping[str, str] = field(default_factory=dict)  # template in English -> template
    decimal: str = "."
    group: str = ","
    byte: str = "B"
    day: str = "%Y-%m-%d"
    one_is_below: float = 0.0  # French counts 0 and 1 (and 1.5) as one


_ENGLISH = Catalogue("en")


@lru_cache(8)
def catalogue(language: str) -> Catalogue:
    """Read a language's catalogue; English needs none, and an unknown language is English."""
    path = LOCALE_DIR / language / "LC_MESSAGES" / "diecast.po"
    if language == "en" or not path.is_file():
        return _ENGLISH
    from babel import Locale
    from babel.messages.pofile import read_po

    texts: dict[str, str] = {}
    plurals: dict[str, tuple[str, ...]] = {}
    sentences: dict[str, str] = {}
    with path.open("rb") as file:
        for message in read_po(file, locale=language):
            if not message.id or message.fuzzy or not message.string:
                continue
            if isinstance(message.id, (list, tuple)):
                if all(message.string):
                    plurals[message.id[0]] = tuple(message.string)
            elif message.context == STORE_CONTEXT:
                sentences[message.id] = str(message.string)
            else:
                texts[message.id] = str(message.string)
    symbols = Locale.parse(language).number_symbols["latn"]
    return Catalogue(
        language,
        texts,
        plurals,
        sentences,
        decimal=symbols["decimal"],
        group="\N{NO-BREAK SPACE}",  # French has U+202F, which no console font draws
        byte="o",
        day="%d/%m/%Y",
        one_is_below=2.0,
    )


_current = _ENGLISH


def use(language: str) -> None:
    """Speak `language` from now on."""
    global _current
    _current = catalogue(language)


def current() -> Catalogue:
    """The language in use."""
    return _current


def following(language: str) -> str:
    """The language after `language`, for the key that goes round them."""
    names = list(LANGUAGES)
    return names[(names.index(language) + 1) % len(names)] if language in names else names[0]


def _(text: str) -> str:
    """`text` in the language in use."""
    return _current.texts.get(text, text) if text else text


def ngettext(one: str, many: str, count: float) -> str:
    """The form of a text that goes with `count`."""
    forms = _current.plurals.get(one)
    if forms is None:
        return one if count == 1 else many
    is_one = abs(count) < _current.one_is_below if _current.one_is_below else count == 1
    return forms[0] if is_one else forms[-1]


def N_(text: str) -> str:
    """Mark a text of a table for translation, without translating it yet."""
    return text

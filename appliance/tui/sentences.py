"""Sentences that other parts of the program wrote in English, in the language in use.

Errors, remedies, phases and events are stored as whole sentences: "lab-07 is busy with task 12 (deploy win11)."
The catalogue holds their templates, with the names in braces that the f-string has (`{host_name} is busy with
{task}.`). A sentence is matched against the templates, and what stood for the names is put into the translated one,
itself translated where it is a sentence of ours too. What matches nothing stays English.

A remedy that names a command names a key instead, in English too (`tui.remedies`).

Templates are found by `tests.tui.catalogue`, which reads the sources; nothing here knows where they come from.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache

from appliance.errors import ApplianceError
from appliance.tui import i18n
from appliance.tui.remedies import CONSOLE

_FIELD = re.compile(r"\{([a-z_0-9]+)\}")
_PREFIX = 4  # characters of a template by which it is looked up
_MAX_LENGTH = 2000


class Templates:
    """The templates of one language, looked up by how a sentence begins."""

    def __init__(self, sentences: dict[str, str]) -> None:
        self._whole: dict[str, str] = {}
        self._by_start: dict[str, list[tuple[re.Pattern[str], str]]] = defaultdict(list)
        for template, translated in sentences.items():
            if not _FIELD.search(template):
                self._whole[template] = translated
                continue
            start = template.split("{", 1)[0][:_PREFIX]
            self._by_start[start].append((_pattern(template), translated))
        for found in self._by_start.values():  # the most literal text first: it says the most
            found.sort(key=lambda pair: -len(_FIELD.sub("", pair[0].pattern)))

    def translate(self, text: str, depth: int = 0) -> str | None:
        """`text` translated, or None when no template fits it."""
        if text in self._whole:
            return self._whole[text]
        for length in range(min(_PREFIX, len(text)), -1, -1):
            for pattern, translated in self._by_start.get(text[:length], ()):
                match = pattern.fullmatch(text)
                if match:
                    return self._filled(translated, match.groupdict(), depth)
        return None

    def _filled(self, template: str, values: dict[str, str], depth: int) -> str:
        """`template` with its names replaced; a value that is a sentence or phrase of ours is translated too."""
        inner = {
            name: (self.translate(value, depth + 1) if depth < 3 and value else None) or value
            for name, value in values.items()
        }
        return _FIELD.sub(lambda match: inner.get(match[1], match[0]), template)


def _pattern(template: str) -> re.Pattern[str]:
    """`template` as a regular expression with a named group for each name; one used twice must match the same."""
    parts, seen, last = [], set(), 0
    for match in _FIELD.finditer(template):
        parts.append(re.escape(template[last : match.start()]))
        name = match[1]
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>.*?)")
        seen.add(name)
        last = match.end()
    parts.append(re.escape(template[last:]))
    return re.compile("".join(parts), re.DOTALL)


@lru_cache(4)
def _templates(language: str) -> Templates:
    catalogue = i18n.catalogue(language)
    remedies = {template: catalogue.texts.get(words, words) for template, words in CONSOLE.items()}
    if language != "en":  # a remedy without a translation names the command, in the operator's language
        remedies = {template: words for template, words in remedies.items() if words != CONSOLE[template]}
    return Templates({**catalogue.sentences, **remedies})


@lru_cache(1024)
def _translated(language: str, text: str) -> str:
    templates = _templates(language)
    whole = templates.translate(text)
    if whole is not None:
        return whole
    parts = re.split(r"(?<=[.:;]) (?=[A-Z'])", text)  # an error with its hint is two sentences
    if len(parts) == 1:
        return text
    return " ".join(templates.translate(part) or part for part in parts)


def translate(text: str) -> str:
    """A sentence from the store or an error in the language in use, as the console words it (`tui.remedies`)."""
    if not text or len(text) > _MAX_LENGTH:
        return text
    return _translated(i18n.current().language, text)


def explain(error: ApplianceError) -> str:
    """What is wrong and what to do, in the language in use."""
    return " ".join(filter(None, (translate(error.message), translate(error.hint))))

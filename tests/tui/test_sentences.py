"""Sentences that other parts wrote in English are shown in the language in use."""

from __future__ import annotations

import re

import pytest

from appliance.errors import Conflict, NotFound
from appliance.tui import i18n, sentences
from appliance.tui.remedies import CONSOLE
from appliance.tui.sentences import Templates

FRENCH = Templates(
    {
        "{host_name} is busy with {describe_task}.": "{host_name} est pris par {describe_task}.",
        "task {id} ({kind} {image}, {state})": "la tâche {id} ({kind} {image}, {state})",
        "running": "en cours",
        "deploy": "déploiement",
        "There is no host '{name}'.": "Il n'y a pas de poste '{name}'.",
        "See: diecast host list": "Voir : diecast host list",
        "The disk {a} of {b} is too small.": "Le disque {a} de {b} est trop petit.",
        "The disk {a} is too small.": "Le disque {a} est trop petit.",
        "committed as {image}@{number}": "enregistré comme {image}@{number}",
    }
)


@pytest.mark.parametrize(
    ("english", "french"),
    [
        ("There is no host 'lab-07'.", "Il n'y a pas de poste 'lab-07'."),
        (
            "lab-07 is busy with task 12 (deploy win11, running).",
            "lab-07 est pris par la tâche 12 (déploiement win11, en cours).",
        ),
        ("The disk /dev/sda of 119 GB is too small.", "Le disque /dev/sda de 119 GB est trop petit."),
        ("committed as win11@3", "enregistré comme win11@3"),
        ("There is no host '{name}'.", "Il n'y a pas de poste '{name}'."),
    ],
)
def test_a_sentence_is_matched_by_its_template_and_made_again(english: str, french: str) -> None:
    assert FRENCH.translate(english) == french


def test_a_sentence_that_nobody_knows_is_left_alone() -> None:
    assert FRENCH.translate("Something else entirely.") is None


def test_in_english_nothing_is_changed() -> None:
    error = Conflict("lab-07 is busy.", hint="Wait for it.")
    assert sentences.explain(error) == "lab-07 is busy. Wait for it."


@pytest.mark.parametrize("template", CONSOLE)
def test_a_remedy_of_the_console_takes_the_place_of_one_that_is_written_somewhere(template: str) -> None:
    from tests.tui import catalogue

    assert "diecast " in template
    assert template in catalogue.found().sentences
    assert set(re.findall(r"{\w+}", CONSOLE[template])) <= set(re.findall(r"{\w+}", template))


def test_a_remedy_names_a_key_and_no_command() -> None:
    error = NotFound("There is no host 'lab-99'.", hint="See: diecast host list")
    assert sentences.explain(error) == "There is no host 'lab-99'. Hosts has them all: key 2."
    busy = "lab-07 is busy with task 12 (deploy win11, running). Wait for it, or run: diecast task cancel 12"
    assert sentences.translate(busy).endswith("running). Wait for it, or cancel task 12: key 4, then k.")


def test_a_remedy_without_a_key_keeps_its_command() -> None:
    assert sentences.translate("It is written by: diecast serve") == "It is written by: diecast serve"


def test_what_has_no_french_stays_english() -> None:
    i18n.use("fr")
    assert sentences.translate("Nobody ever wrote this sentence.") == "Nobody ever wrote this sentence."


def test_templates_are_found_in_f_strings_sums_and_choices() -> None:
    import ast

    from tests.tui.catalogue import templates

    source = """
def verb(host, ok):
    text = "it is well" if ok else f"{host.name} is not well"
    raise Conflict(f"{host.name} has {len(host.macs)} cards, " + f"not {host.wanted!r}.", hint="Take one away.")
"""
    assert set(templates(ast.parse(source), ("text", "hint"))) == {
        "it is well",
        "{host_name} is not well",
        "{host_name} has {len_host_macs} cards, not {host_wanted}.",
        "Take one away.",
    }

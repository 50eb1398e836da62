"""What a command is: a name, options, and a function from context and options to an exit status."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from appliance.cli.context import Context
from appliance.errors import UsageError

Run = Callable[[Context, argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class Argument:
    """One option or operand, as `ArgumentParser.add_argument` takes it."""

    words: tuple[str, ...]
    settings: dict[str, Any]


def argument(*words: str, **settings: Any) -> Argument:
    """An `Argument`, written as a call."""
    return Argument(words, settings)


def whole(what: str, low: int = 1, high: int = 10**9) -> Callable[[str], int]:
    """An argument's type: a whole number in a range; `what` stands in argparse's sentence about any other text."""

    def parse(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise ValueError
        return number

    parse.__name__ = what
    return parse


JSON = argument("--json", action="store_true", help="print JSON instead of a table")
YES = argument("--yes", "-y", action="store_true", help="do not ask")


WHEN: tuple[Argument, ...] = (
    argument("--at", metavar="TIME", help="not before 'YYYY-MM-DD HH:MM' or HH:MM, local time"),
    argument("--wake", action="store_true", help="switch it on by Wake-on-LAN when it is to start"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a group of them when it has `parts`."""

    name: str
    help: str
    run: Run | None = None
    arguments: tuple[Argument, ...] = ()
    parts: tuple[Command, ...] = ()
    notes: str = ""  # shown below the options


class Parser(argparse.ArgumentParser):
    """Argparse whose complaints are errors of ours, and which lets options stand between operands.

    Plain argparse refuses `deploy IMAGE --yes HOST`; its way round that does not work for a group of commands.
    """

    def __init__(self, *, is_group: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self._mixes = not is_group

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if not self._mixes:
            return super().parse_known_args(args, namespace)
        self._mixes = False  # the next line comes back here
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixes = True

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:].rstrip('.')}.", hint=f"See: {self.prog} --help")


# Understood before the command and, where nobody looks for them, after it.
COMMON: tuple[Argument, ...] = (
    argument("--config", metavar="FILE", type=Path, help="settings file"),
    argument("--debug", action="store_true", help="show a traceback for every error"),
)


def add_to(parser: argparse.ArgumentParser, command: Command) -> None:
    """Give `parser` the options and parts of `command`."""
    for item in command.arguments:
        parser.add_argument(*item.words, **item.settings)
    if command.run is not None:
        parser.set_defaults(run=command.run)
        for item in COMMON:
            parser.add_argument(
                *item.words, **item.settings | {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
            )
    if command.parts:
        add_parts(parser, command.parts)


def add_parts(parser: argparse.ArgumentParser, parts: tuple[Command, ...]) -> None:
    """Give `parser` subcommands, one of which must be named."""
    group = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for part in parts:
        child = group.add_parser(
            part.name,
            is_group=bool(part.parts),
            help=part.help,
            description=part.help[:1].upper() + part.help[1:] + ".",
            epilog=part.notes or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_to(child, part)

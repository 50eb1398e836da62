"""`diecast operator`: who may use the console. Passwords are asked for or read, never taken from the command line."""

from __future__ import annotations

import argparse
import sys

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument
from appliance.cli.context import Context
from appliance.errors import UsageError
from appliance.events import Role

_NO_PERMISSION = 77  # EX_NOPERM of sysexits.h

_NOTES = """\
viewer looks; operator works with hosts, images, tasks and casts; admin also changes settings, services
and operators. The first operator must be an admin, and the last admin cannot be removed.
"""


def _list(context: Context, options: argparse.Namespace) -> int:
    operators = context.store.operators.list()
    if options.json:
        context.say(show.as_json(operators))
        return 0
    if not operators:
        context.say(
            "There is no operator: the console is open to whoever sits at it. Add one: diecast operator add NAME"
        )
        return 0
    rows = [
        (one.name, str(one.role), one.language or "-", show.moment(one.created), show.moment(one.last_login))
        for one in operators
    ]
    context.say(show.table(("NAME", "ROLE", "LANGUAGE", "ADDED", "LAST LOGIN"), rows, width=context.width))
    return 0


def _password(context: Context, options: argparse.Namespace, name: str) -> str:
    if not options.password_stdin:
        return context.ask_secret(f"Password of {name}")
    line = sys.stdin.readline()
    if not line.rstrip("\r\n"):
        raise UsageError("Standard input holds no password.", hint="Write it there as one line.")
    return line.rstrip("\r\n")


def _add(context: Context, options: argparse.Namespace) -> int:
    operators = context.store.operators
    role = Role(options.role) if options.role else Role.OPERATOR if operators.any() else Role.ADMIN
    one = operators.add(options.name, role, _password(context, options, options.name))
    context.record("operator add", f"{one.name}, {one.role}")
    context.say(f"Added {one.name}, {one.role}.")
    return 0


def _remove(context: Context, options: argparse.Namespace) -> int:
    for name in options.names:
        known = context.store.operators.get(name)
        context.store.operators.remove(name)
        context.record("operator remove", known.name)
        context.say(f"Removed {known.name}.")
    return 0


def _set_password(context: Context, options: argparse.Namespace) -> int:
    known = context.store.operators.get(options.name)
    context.store.operators.set_password(known.name, _password(context, options, known.name))
    context.record("operator password", known.name)
    context.say(f"Changed the password of {known.name}.")
    return 0


def _check(context: Context, options: argparse.Namespace) -> int:
    operators = context.store.operators
    names = [options.name] if options.name else [one.name for one in operators.list() if one.role is Role.ADMIN]
    password = _password(context, options, options.name or "an admin")
    known = next((one for name in names if (one := operators.check(name, password))), None)
    if known is None:
        context.record("operator check", "wrong password")
        context.say("That is not the password.")
        return _NO_PERMISSION
    context.record("operator check", known.name)
    context.say(f"That is the password of {known.name}, {known.role}.")
    return 0


def _set_role(context: Context, options: argparse.Namespace) -> int:
    one = context.store.operators.set_role(options.name, Role(options.role))
    context.record("operator role", f"{one.name}, {one.role}")
    context.say(f"{one.name} is now {one.role}.")
    return 0


def _set_language(context: Context, options: argparse.Namespace) -> int:
    one = context.store.operators.set_language(options.name, options.language)
    context.record("operator language", f"{one.name}, {one.language or 'the box'}")
    context.say(f"The console speaks {one.language or 'the language of the box'} to {one.name}.")
    return 0


_NAME = argument("name", metavar="NAME", help="the operator's name")
_STDIN = argument("--password-stdin", action="store_true", help="read the password from standard input")
_ROLES = [str(role) for role in Role]

COMMAND = Command(
    "operator",
    "list, add and remove operators; passwords, roles, languages",
    parts=(
        Command("list", "list the operators", _list, (JSON,)),
        Command(
            "add",
            "add an operator",
            _add,
            (
                _NAME,
                argument("--role", choices=_ROLES, help="what it may do (the first: admin, others: operator)"),
                _STDIN,
            ),
            notes=_NOTES,
        ),
        Command(
            "remove", "forget operators", _remove, (argument("names", nargs="+", metavar="NAME", help="their names"),)
        ),
        Command(
            "check",
            "say whether a password is an operator's",
            _check,
            (argument("name", nargs="?", default="", metavar="NAME", help="whose (default: any admin's)"), _STDIN),
            notes="Exit status 77 when it is not. The box's screen asks this way who may have a shell as root.\n",
        ),
        Command("password", "change an operator's password", _set_password, (_NAME, _STDIN)),
        Command(
            "role",
            "let an operator do more or less",
            _set_role,
            (_NAME, argument("role", choices=_ROLES, metavar="ROLE", help="viewer, operator or admin")),
            notes=_NOTES,
        ),
        Command(
            "language",
            "choose in which language the console speaks to an operator",
            _set_language,
            (_NAME, argument("language", metavar="LANGUAGE", help="en or fr; '' for that of the box")),
        ),
    ),
)

"""`diecast setting`: single settings, changed while the box runs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument
from appliance.cli.context import Context
from appliance.errors import UsageError

if TYPE_CHECKING:
    from appliance.config_keys import Key
    from appliance.overrides import Change
    from appliance.tui.box_settings import BoxSetting

_BOX = ("console.", "backup.")
_NOTES = """\
What is set here is kept in the store and counts instead of the settings file, except for paths.
Services take settings when they start; `list` says which ones run with older settings.
Lists are written with commas: diecast setting set network.interfaces eth1,eth2
dhcp.subnet is JSON: '[{"network": "10.20.4.0/22", "range_first": "10.20.5.1",
"range_last": "10.20.7.250", "router": "10.20.4.1"}]'
"""


def _row(context: Context, key: Key, stored: dict[str, Any]) -> dict[str, Any]:
    """One key: its value, where that comes from, its default."""
    from appliance import config_keys

    in_file = config_keys.value_of(context.file_settings, key.name)
    source = "store" if key.name in stored else "file" if in_file != key.default else "default"
    value = stored.get(key.name, config_keys.as_plain(in_file))
    return {
        "name": key.name,
        "value": value,
        "default": config_keys.as_plain(key.default),
        "from": source,
        "expects": key.expects,
        "meaning": key.doc,
    }


def _box_rows(context: Context) -> list[dict[str, Any]]:
    """Settings of the console and of backups."""
    from appliance.tui import box_settings

    return [_box_row(context, one) for one in box_settings.ALL]


def _box_row(context: Context, one: BoxSetting) -> dict[str, Any]:
    value = context.store.settings.get(one.name)
    choices = ", ".join(value for value, _words in one.choices)
    return {
        "name": one.name,
        "value": value or one.default,
        "default": one.default,
        "from": "store" if value else "default",
        "expects": f"one of {choices}" if choices else one.expects,
        "meaning": one.doc,
    }


def _box_setting(name: str) -> BoxSetting | None:
    """The setting of console or backups of that name; the console is not loaded for other names."""
    if not name.startswith(_BOX):
        return None
    from appliance.tui import box_settings

    return box_settings.named(name)


def _secret_rows(context: Context) -> list[dict[str, Any]]:
    """Secrets: only whether there is one is ever shown."""
    from appliance.store.notices import SECRETS

    return [_secret_row(context, name, doc) for name, doc in SECRETS.items()]


def _secret_row(context: Context, name: str, doc: str) -> dict[str, Any]:
    there = context.store.notices.has_secret(name)
    return {
        "name": name,
        "value": "(set)" if there else "",
        "default": "",
        "from": "store" if there else "default",
        "expects": "one line, from standard input (--stdin) or asked for",
        "meaning": doc,
    }


def _secret_doc(name: str) -> str | None:
    """What a secret is for; None for other names."""
    from appliance.store.notices import SECRETS

    return SECRETS.get(name)


def _list(context: Context, options: argparse.Namespace) -> int:
    from appliance import config_keys, overrides

    stored = overrides.read(context.store)
    rows = [_row(context, key, stored) for key in config_keys.all_keys()]
    rows += _secret_rows(context) + _box_rows(context)
    if options.changed:
        rows = [row for row in rows if row["from"] != "default"]
    if options.json:
        context.say(show.as_json({"settings": rows, "restart": overrides.restart_needed(context.store)}))
        return 0
    cells = [(row["name"], _text(row["value"]), row["from"], _text(row["default"])) for row in rows]
    context.say(show.table(("SETTING", "VALUE", "FROM", "DEFAULT"), cells, width=context.width))
    waiting = overrides.restart_needed(context.store)
    for service, names in waiting.items():
        context.say(f"{service} runs with an older {', '.join(names)}.")
    if waiting:
        context.say(f"Restart: diecast service restart {' '.join(waiting)}")
    return 0


def _text(value: Any) -> str:
    from appliance.config_keys import as_text

    return as_text(tuple(value) if isinstance(value, list) else value) or "-"


def _get(context: Context, options: argparse.Namespace) -> int:
    from appliance import config_keys, overrides

    box, secret = _box_setting(options.key), _secret_doc(options.key)
    if box is not None:
        row = _box_row(context, box)
    elif secret is not None:
        row = _secret_row(context, options.key, secret)
    else:
        row = _row(context, config_keys.key(options.key), overrides.read(context.store))
    if options.json:
        context.say(show.as_json(row))
        return 0
    pairs = [("Setting", row["name"]), ("Value", _text(row["value"])), ("From", row["from"])]
    pairs += [("Default", _text(row["default"])), ("Must be", row["expects"]), ("Meaning", row["meaning"])]
    context.say(show.facts(pairs))
    return 0


def _set_secret(context: Context, options: argparse.Namespace) -> int:
    if options.value is not None:
        raise UsageError(
            f"{options.key} is a secret: on a command line everybody could read it.",
            hint=f"Write it to standard input: diecast setting set {options.key} --stdin",
        )
    if not options.stdin and not context.can_ask:
        raise UsageError(f"There is no terminal to ask for {options.key} at.", hint="Give it with --stdin.")
    value = _read_value() if options.stdin else context.ask_secret(options.key)
    if not value:
        raise UsageError(
            f"Nothing was written for {options.key}.", hint=f"To forget it: diecast setting unset {options.key}"
        )
    context.store.notices.set_secret(options.key, value)
    context.record("setting set", options.key)
    context.say(f"{options.key} is kept.")
    return 0


def _read_value() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _set(context: Context, options: argparse.Namespace) -> int:
    from appliance import config_keys, overrides

    if _secret_doc(options.key) is not None:
        return _set_secret(context, options)
    if (options.value is None) != options.stdin:
        raise UsageError("One value is needed.", hint="Write it behind the name, or give it with --stdin.")
    if options.stdin:
        options.value = _read_value()
    box = _box_setting(options.key)
    if box is not None:
        if not box.allows(options.value):
            expects = _box_row(context, box)["expects"]
            raise UsageError(f"'{options.value}' is no value for {box.name}.", hint=f"It must be {expects}.")
        context.store.settings.set(box.name, options.value)
        context.record("setting set", f"{box.name} = {options.value}")
        context.say(f"{box.name} is now {options.value}.")
        return 0
    value = config_keys.from_text(options.key, options.value)
    done = overrides.change(context.store, context.file_settings, options.key, value)
    context.record("setting set", f"{options.key} = {_text(value)}")
    _tell(context, done)
    return 0


def _unset(context: Context, options: argparse.Namespace) -> int:
    from appliance import overrides

    for name in options.keys:
        box = _box_setting(name)
        if box is not None:
            context.store.settings.unset(name)
            context.record("setting unset", name)
            context.say(f"{name} is now {box.default}.")
            continue
        if _secret_doc(name) is not None:
            context.store.notices.set_secret(name, "")
            context.record("setting unset", name)
            context.say(f"{name} is forgotten.")
            continue
        done = overrides.take_back(context.store, context.file_settings, name)
        context.record("setting unset", name)
        _tell(context, done)
    return 0


def _tell(context: Context, done: Change) -> None:
    from appliance.config_keys import as_text

    new = as_text(done.new) or "empty"
    if done.new is None and done.old is None:
        context.say(f"{done.name} is set in the store no more.")
    elif done.old == done.new:
        context.say(f"{done.name} is {new} as before.")
    else:
        was = "" if done.old is None else f", was {as_text(done.old) or 'empty'}"
        context.say(f"{done.name} is now {new}{was}.")
    if done.restart:
        names = " ".join(done.restart)
        context.say(f"{', '.join(done.restart)} took the old value when started: diecast service restart {names}")


_KEY = argument("key", metavar="KEY", help="its name, such as dhcp.mode")

COMMAND = Command(
    "setting",
    "list, show and change single settings",
    parts=(
        Command(
            "list",
            "list all settings, where each comes from, and which services must be restarted",
            _list,
            (argument("--changed", action="store_true", help="only those that are not the default"), JSON),
            notes=_NOTES,
        ),
        Command("get", "show one setting and what it may be", _get, (_KEY, JSON)),
        Command(
            "set",
            "change one setting",
            _set,
            (
                _KEY,
                argument("value", nargs="?", metavar="VALUE", help="its new value; '' for nothing"),
                argument("--stdin", action="store_true", help="read the value from standard input: for secrets"),
            ),
            notes=_NOTES,
        ),
        Command(
            "unset",
            "let the settings file decide again",
            _unset,
            (argument("keys", nargs="+", metavar="KEY", help="their names"),),
        ),
    ),
)

"""`diecast config`: the commented defaults, or a check of the settings file."""

from __future__ import annotations

import argparse

from appliance import config
from appliance.cli import show
from appliance.cli.command import Command, argument
from appliance.cli.context import Context


def _run(context: Context, options: argparse.Namespace) -> int:
    if options.defaults:
        context.say(config.defaults_toml().rstrip())
    elif options.json:
        context.say(show.as_json(context.settings))
    else:
        settings = context.settings
        subnets = show.count(len(settings.dhcp.subnet), "subnet")
        interfaces = ", ".join(settings.network.interfaces) or "no interface"
        context.say(f"{context.config_path} is valid: {settings.dhcp.mode} DHCP with {subnets} on {interfaces}.")
        if settings != context.file_settings:
            context.say("Some settings are changed in the store; see: diecast setting list --changed")
    if context.unread is not None:
        context.note(f"Settings in the store are not taken into account: {context.unread}")
    return 0


COMMAND = Command(
    "config",
    "check the settings file, or print the defaults",
    _run,
    (
        argument("--defaults", action="store_true", help="print a commented settings file of every key"),
        argument("--json", action="store_true", help="print the settings in force as JSON"),
    ),
)

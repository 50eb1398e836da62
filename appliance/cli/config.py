"""`diecast config`: the commented defaults, a check of the settings file, or the packet filter that follows from it."""

from __future__ import annotations

import argparse

from appliance import config
from appliance.cli import show
from appliance.cli.command import Command, argument
from appliance.cli.context import Context
from appliance.errors import UsageError
from appliance.system import firewall


def _run(context: Context, options: argparse.Namespace) -> int:
    if options.apply and not options.firewall:
        raise UsageError("There is nothing to apply.", hint="Add --firewall.")
    if options.defaults:
        context.say(config.defaults_toml().rstrip())
    elif options.firewall:
        rules = firewall.render(context.settings)
        if options.apply:
            firewall.apply(rules)
        else:
            context.say(rules.rstrip())
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
    "check the settings file, print the defaults or the packet filter",
    _run,
    (
        argument("--defaults", action="store_true", help="print a commented settings file of every key"),
        argument("--firewall", action="store_true", help="print the packet filter's rules, as nft reads them"),
        argument("--apply", action="store_true", help="with --firewall: have the kernel filter by them"),
        argument("--json", action="store_true", help="print the settings in force as JSON"),
    ),
)

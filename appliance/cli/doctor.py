"""`diecast doctor`: is everything there that the services need? Each answer in words, with its remedy."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap

from appliance.cli import show
from appliance.cli.checks import CHECKS, Finding, Level, check_listening, run_checks
from appliance.cli.command import JSON, Command, argument
from appliance.cli.context import Context

UNHEALTHY = 69  # EX_UNAVAILABLE
_WIDTH = 80

_SIGNS = {Level.OK: "ok", Level.WARNING: "warn", Level.PROBLEM: "FAIL"}


def _lines(finding: Finding, width: int) -> str:
    """`ok    NETWORK  sentence`, the remedy below it."""
    head = f"{_SIGNS[finding.level]:5} {finding.area:8} "
    text = textwrap.fill(show.clean(finding.text), width, initial_indent=head, subsequent_indent=" " * len(head))
    if finding.remedy:
        indent = " " * len(head)
        text += "\n" + textwrap.fill(
            show.clean(finding.remedy), width, initial_indent=indent + "-> ", subsequent_indent=indent + "   "
        )
    return text


def _run(context: Context, options: argparse.Namespace) -> int:
    findings = list(check_listening(context, options.listen)) if options.listen else run_checks(context, CHECKS)
    bad = sum(finding.level is Level.PROBLEM for finding in findings)
    doubtful = sum(finding.level is Level.WARNING for finding in findings)
    if options.json:
        context.say(show.as_json(findings))
    else:
        if os.geteuid() != 0:
            print("Not run as root: owners of ports cannot be named.", file=sys.stderr)
        for finding in findings:
            context.say(_lines(finding, context.width or _WIDTH))
        context.say(f"\n{show.count(bad, 'problem')}, {show.count(doubtful, 'warning')}.")
    return UNHEALTHY if bad else 0


COMMAND = Command(
    "doctor",
    "check settings, network, boot files, disks and services",
    _run,
    (
        argument("--listen", metavar="INTERFACE", help="only ask, now, which other DHCP servers are on an interface"),
        JSON,
    ),
)

"""The checks of `diecast doctor`: each yields findings, none changes anything, none raises.

A check that needs something an earlier one has found missing says nothing of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from appliance.cli.checks.disks import check_disks
from appliance.cli.checks.finding import Check, Finding, Level
from appliance.cli.checks.machine import check_clock, check_time, check_versions
from appliance.cli.checks.multicast import check_multicast
from appliance.cli.checks.network import check_interfaces, check_listening, check_other_servers, check_ports
from appliance.cli.checks.services import (
    BOOT_FILES,
    check_architectures,
    check_boot_files,
    check_nfs,
    check_notices,
)
from appliance.cli.checks.store import check_database, check_settings, check_space, check_store
from appliance.cli.context import Context

__all__ = [
    "BOOT_FILES",
    "CHECKS",
    "Finding",
    "Level",
    "check_architectures",
    "check_boot_files",
    "check_clock",
    "check_database",
    "check_disks",
    "check_interfaces",
    "check_listening",
    "check_multicast",
    "check_nfs",
    "check_notices",
    "check_other_servers",
    "check_ports",
    "check_settings",
    "check_space",
    "check_store",
    "check_time",
    "check_versions",
    "run_checks",
]


def run_checks(context: Context, checks: Iterable[Check]) -> list[Finding]:
    """All findings in order. After a settings file that cannot be read there is nothing more to check."""
    findings = list(check_settings(context))
    if any(finding.level is Level.PROBLEM for finding in findings):
        return findings
    for check in checks:
        findings += check(context)
    return findings


CHECKS: tuple[Check, ...] = (
    check_interfaces,
    check_multicast,
    check_ports,
    check_boot_files,
    check_versions,
    check_nfs,
    check_store,
    check_database,
    check_space,
    check_disks,
    check_clock,
    check_time,
    check_other_servers,
    check_architectures,
    check_notices,
)

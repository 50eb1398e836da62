"""What the box says about itself is read rightly, and a report with something wrong in it says so."""

from __future__ import annotations

from copy import deepcopy

from tests.appliance import inside, verdict
from tests.appliance.inside import SERVICES
from tests.appliance.story import PCS, Report
from tests.lab.mainjob import Target

TABLE = """\
UNIT                       EXPOSURE PREDICATE HAPPY
diecast-cast.service            1.9 OK        🙂
diecast-console@tty1.service    2.1 OK        🙂
"""
SOCKETS = """\
UNCONN 0 0 0.0.0.0:67 0.0.0.0:*
UNCONN 0 0 10.20.0.1%ens2:4021 0.0.0.0:*
UNCONN 0 0 127.0.0.1:323 0.0.0.0:*
UNCONN 0 0 [::1]:323 [::]:*
UNCONN 0 0 *:69 *:*
"""


def test_scores_are_read_from_systemds_table() -> None:
    assert inside.parse_scores(TABLE) == {"diecast-cast.service": 1.9, "diecast-console@tty1.service": 2.1}


def test_sockets_on_the_loopback_do_not_count() -> None:
    assert inside.parse_listeners(SOCKETS) == [67, 69, 4021]


def test_ports_that_the_packet_filter_opens_are_read_from_its_rules() -> None:
    rules = 'udp dport 67 accept comment "DHCP"\n meta nfproto ipv4 udp sport 67 udp dport 68 accept\n counter drop'
    assert inside.parse_openings(rules) == {67, 68}


def good() -> Report:
    """A report in which everything held."""
    report = Report(master_unchanged=True, ready_s=40.0, restart_s=50.0)
    report.targets = [Target(name, "bios", deployed=True, content_equal=True, by_cast_bytes=1) for name in PCS]
    report.kills = dict.fromkeys(SERVICES, 4.0)
    report.ways_out = {what: [] for what in ("ssh", "forwardings", "account", "keys", "viewer")}
    report.unit_scores = dict.fromkeys(verdict.NETWORK_FACING, 2.0)
    report.secure_boot = {"kernel_says_enabled": True, "image_verified": True}
    report.open_ports = {
        "tcp": [22, 80, 2049],
        "udp_answering": [67, 123],
        "tftp_gives_loaders": True,
        "udp_listening": [67, 69, 123, 4021],
        "proxy_udp_listening": [67, 69, 123, 4011],
        "68_idle": "closed",
        "68_listens_while_probing": ["yes", "no"],
        "metrics_on_box": "200",
        "metrics_from_lab": "403",
        "nfs_versions": "-3 +4 -4.0 +4.1 -4.2",
        "nfs3_mounts": False,
    }
    return report


def test_a_report_in_which_everything_held_has_no_faults() -> None:
    assert verdict.faults(good()) == []
    assert "pc-2" in verdict.table(good())


def test_each_thing_that_did_not_hold_is_a_fault_of_its_own() -> None:
    for name, bad in {
        "tcp": [22, 80, 111, 2049],
        "udp_answering": [67],
        "tftp_gives_loaders": False,
        "udp_listening": [67, 111],
        "proxy_udp_listening": [67],
        "68_idle": "open|filtered",
        "68_listens_while_probing": ["yes", "yes"],
        "metrics_from_lab": "200",
        "nfs_versions": "+3 +4",
        "nfs3_mounts": True,
    }.items():
        report = good()
        report.open_ports[name] = bad
        assert len(verdict.faults(report)) == 1, name
    for name in good().open_ports:
        report = good()
        del report.open_ports[name]
        assert name == "nfs3_mounts" or verdict.faults(report), f"{name} was not looked at"


def test_what_was_not_done_is_a_fault() -> None:
    empty = verdict.faults(Report())
    assert len(empty) > 15
    for name in ("kills", "ways_out", "unit_scores", "secure_boot", "targets"):
        report = deepcopy(good())
        setattr(report, name, type(getattr(report, name))())
        assert verdict.faults(report), name

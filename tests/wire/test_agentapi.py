"""The agent's messages: what one side prints the other reads, and nothing else is accepted."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.wire import agentapi
from appliance.wire.agentapi import BadMessage

MESSAGES: list[type[agentapi.CheckIn]] = [
    item
    for item in vars(agentapi).values()
    if isinstance(item, type) and hasattr(item, "from_json") and not item.__name__.startswith("_")
]


def test_a_task_order_survives_the_wire() -> None:
    order = agentapi.TaskOrder(
        task_id=7, kind="capture", image_name="win11", host_name="lab-01",
        chunks=agentapi.NfsExport("10.0.0.1", "/chunks"), staging=agentapi.NfsExport("10.0.0.1", "/staging/7", 2050),
    )  # fmt: skip
    assert agentapi.TaskOrder.from_json(order.to_json()) == order


def test_an_inventory_survives_the_wire() -> None:
    disk = agentapi.DiskInfo("/dev/sda", 10**12, model="Ünïcode SSD")
    inventory = agentapi.Inventory(vendor="V", disks=[disk, disk], nics=[agentapi.NicInfo("eth0", "52:54:00:00:00:01")])
    assert agentapi.Inventory.from_json(inventory.to_json()) == inventory


def test_fields_of_a_newer_peer_are_ignored() -> None:
    assert agentapi.Progress.from_json(b'{"phase": "x", "colour": "red"}') == agentapi.Progress("x")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{", b"\xff\xfe", b"{}", b"[" * 100_000,
        b'{"phase": 3}', b'{"phase": "x", "done_bytes": "7"}', b'{"phase": "x", "done_bytes": true}',
        b'{"phase": "x", "rate_bytes_s": NaN}', b'{"phase": "x", "done_bytes": 1e400}',
        b'{"phase": "x", "done_bytes": ' + b"9" * 50 + b"}", b'{"phase": "' + b"x" * 5000 + b'"}',
        b'{"phase": "\\ud800"}',
    ],
)  # fmt: skip
def test_a_broken_message_is_refused_by_its_own_error(body: bytes) -> None:
    with pytest.raises(BadMessage):
        agentapi.Progress.from_json(body)


@given(kind=st.sampled_from(MESSAGES), body=st.binary(max_size=300))
def test_random_bytes_are_refused_by_their_own_error(kind: type[agentapi.CheckIn], body: bytes) -> None:
    with pytest.raises(BadMessage):
        kind.from_json(body)


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
)


@given(data=st.data(), kind=st.sampled_from(MESSAGES))
def test_right_names_with_wrong_types_are_a_message_or_refused(
    data: st.DataObject, kind: type[agentapi.CheckIn]
) -> None:
    names = list(kind.__dataclass_fields__)
    body: dict[str, Any] = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, _json)))
    try:
        message = kind.from_json(json.dumps(body))
    except BadMessage:
        return
    assert kind.from_json(message.to_json()) == message


def test_ids_are_cut_and_odd_lengths_refused() -> None:
    assert agentapi.split_ids(b"a" * 32 + b"b" * 32) == [b"a" * 32, b"b" * 32]
    assert agentapi.split_ids(b"") == []
    with pytest.raises(BadMessage):
        agentapi.split_ids(b"a" * 33)
    with pytest.raises(BadMessage):
        agentapi.split_ids(bytes(32 * (agentapi.MAX_MISSING_IDS + 1)))

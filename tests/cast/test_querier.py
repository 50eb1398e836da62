"""Our querier speaks only where nobody else does."""

from ipaddress import IPv4Address

from appliance.cast.querier import LISTEN_S, OTHER_PRESENT_S, QUERY_S, STARTUP_QUERY_S, Querier
from appliance.wire.igmp import Query

OWN, OTHER = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.254")


def test_two_queries_at_the_start_and_then_one_each_interval() -> None:
    querier = Querier(OWN, 0.0)
    times: list[float] = []
    now = 0.0
    while len(times) < 4:
        if querier.due(now):
            times.append(now)
        now = querier.next_at()
    assert times == [
        LISTEN_S,
        LISTEN_S + STARTUP_QUERY_S,
        LISTEN_S + STARTUP_QUERY_S + QUERY_S,
        LISTEN_S + STARTUP_QUERY_S + 2 * QUERY_S,
    ]


def test_we_are_silent_while_another_queries_and_take_over_when_it_stops() -> None:
    querier = Querier(OWN, 0.0)
    querier.heard(Query(2), OTHER, 1.0)
    assert querier.due(LISTEN_S) is None
    assert querier.other == OTHER
    querier.heard(Query(3), OTHER, 100.0)
    assert querier.due(querier.next_at()) is None
    assert querier.next_at() == 100.0 + OTHER_PRESENT_S
    assert querier.due(querier.next_at()) == Query(2)


def test_our_own_query_and_one_about_a_single_group_are_nobody_else() -> None:
    querier = Querier(OWN, 0.0)
    querier.heard(Query(2), OWN, 1.0)
    querier.heard(Query(2, IPv4Address("239.0.0.1")), OTHER, 1.0)
    assert querier.due(LISTEN_S) == Query(2)

"""Names and MAC addresses as the operator types them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.model import check_name, normalise_mac


@pytest.mark.parametrize(
    "text", ["52:54:00:AA:01:02", "52-54-00-aa-01-02", "5254.00aa.0102", "525400aa0102", " 52:54:00:aa:01:02 "]
)
def test_every_usual_way_to_write_a_mac_gives_the_same_text(text: str) -> None:
    assert normalise_mac(text) == "52:54:00:aa:01:02"


@pytest.mark.parametrize("text", ["", "52:54:00:aa:01", "52:54:00:aa:01:0g", "52:54:00:aa:01:02:03"])
def test_what_is_no_mac_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="52:54:00:aa:01:02"):
        normalise_mac(text)


@given(st.text())
def test_any_text_is_a_mac_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(UsageError):  # any other exception is the failure
        assert len(normalise_mac(text)) == 17


@pytest.mark.parametrize("name", ["a", "lab-01", "LAB1-07", "win11_lab", "x" * 63])
def test_usual_names_are_accepted(name: str) -> None:
    assert check_name(name, "a host") == name


@pytest.mark.parametrize("name", ["-a", "a-", "a b", "a/b", "..", "a.b", "é", "x" * 64, "a\n"])
def test_names_that_could_leave_a_folder_or_a_line_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a host"):
        check_name(name, "a host")


def test_who_gives_no_name_is_asked_for_one() -> None:
    with pytest.raises(UsageError, match=r"^Give the image a name\.$"):
        check_name("", "an image")

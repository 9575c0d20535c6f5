"""What of an answer is believed: known buckets, in any spelling of their time, and short plain text."""

from __future__ import annotations

import pytest

from anomstack_provider.llm.answer import EXPLANATION_LIMIT, Answer, AnswerRefused, named, shortened

JUDGED = ["2024-03-04T00:00:00+01:00", "2024-03-05T00:00:00+01:00"]


def answer(*anomalies: tuple[str, str]) -> Answer:
    return Answer.model_validate({"anomalies": [{"timestamp": at, "explanation": text} for at, text in anomalies]})


@pytest.mark.parametrize(
    "written",
    ["2024-03-05T00:00:00+01:00", " 2024-03-05 00:00+01:00 ", "2024-03-04T23:00:00Z", "2024-03-05", "2024-03-05T00:00"],
)
def test_a_bucket_may_be_written_in_any_way_that_means_its_time(written: str) -> None:
    assert named(answer((written, "twice the usual")), JUDGED, "Europe/Berlin") == {JUDGED[1]: "twice the usual"}


@pytest.mark.parametrize("written", ["2024-03-06T00:00:00+01:00", "2024-03-05T00:00:00Z", "yesterday", "", "x" * 999])
def test_a_bucket_that_was_not_asked_about_makes_the_whole_answer_worthless(written: str) -> None:
    with pytest.raises(AnswerRefused, match="none of the 2 buckets asked about") as refused:
        named(answer((JUDGED[0], "a"), (written, "b")), JUDGED, "Europe/Berlin")
    assert len(str(refused.value)) < 160


def test_buckets_come_in_their_order_and_the_first_explanation_of_one_holds() -> None:
    found = named(answer((JUDGED[1], "b"), (JUDGED[0], "a"), (JUDGED[1], "c")), JUDGED, "Europe/Berlin")
    assert list(found.items()) == [(JUDGED[0], "a"), (JUDGED[1], "b")]
    assert named(answer(), JUDGED, "UTC") == {}


def test_an_explanation_is_one_line_of_limited_length_without_control_characters() -> None:
    found = named(answer((JUDGED[0], "line\r\nBcc: x\u202e\x00 end"), (JUDGED[1], "long " * 10_000)), JUDGED, "UTC")
    assert found[JUDGED[0]] == "line Bcc: x end"
    assert len(found[JUDGED[1]]) == EXPLANATION_LIMIT
    assert found[JUDGED[1]].endswith("long…")
    assert shortened("", 10) == ""

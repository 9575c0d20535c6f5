"""
What a language model may answer, and what of it is believed: nothing but a known bucket and a short plain text.

The form is checked by pydantic before anything here runs; the provider shows it to the model as a JSON Schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from anomstack_provider.alerting.wording import one_line

# Longer ones are cut: a message is read on a phone, and a row's metadata are not an archive.
EXPLANATION_LIMIT = 500


class AnswerRefused(ValueError):
    """The answer names what it was not asked about; the message says what."""


class NamedBucket(BaseModel):
    """One anomaly."""

    model_config = ConfigDict(extra="ignore")

    timestamp: str = Field(description="Timestamp of the point, exactly as it was given.")
    explanation: str = Field(description="Why its value is unusual: one or two plain sentences, no markup.")


class Answer(BaseModel):
    """The anomalies among the points that may be named; an empty list if there are none."""

    model_config = ConfigDict(extra="ignore")

    anomalies: list[NamedBucket] = Field(description="Empty if every point is as usual.")


def named(answer: Answer, judged: Sequence[str], timezone: str) -> dict[str, str]:
    """
    Return the explanation of each bucket that the answer names, by its label, in the order of ``judged``.

    :param judged: labels of the buckets that may be named, ISO 8601 with an offset.
    :param timezone: of a time that the answer gives without an offset.
    :raises AnswerRefused: a bucket is none of these: a model that invents one is not believed about the others.
    """
    known = {datetime.fromisoformat(label): label for label in judged}
    found: dict[str, str] = {}
    for one in answer.anomalies:
        label = known.get(_moment(one.timestamp, timezone))  # type: ignore[arg-type]
        if label is None:
            given = shortened(one.timestamp, 60)
            raise AnswerRefused(f"the answer names {given!r}, which is none of the {len(judged)} buckets asked about")
        found.setdefault(label, shortened(one.explanation, EXPLANATION_LIMIT))
    return {label: found[label] for label in judged if label in found}


def shortened(text: str, limit: int) -> str:
    """Return the text on one line without control characters, cut at the end if it is too long."""
    plain = one_line(text[: limit * 10])
    return plain if len(plain) <= limit else f"{plain[: limit - 1].rstrip()}…"


def _moment(text: str, timezone: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))

"""
What waits and what goes out together: pure rules over the deliveries of one run, no ledger and no channel in here.

Quiet hours hold what is not urgent, a budget moves what is beyond it into a digest, many transitions at once become
one message, and what was refused often is tried less often. Nothing is ever dropped by these rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.runtime.ticks import last_tick

if TYPE_CHECKING:
    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.store.ledger import Delivery

CLOSING = frozenset({"closed", "expired"})
ROUTINE = "routine"
SEVERITIES = ("low", "medium", "high")
_URGENT = "high"
# From so many transitions in one run on, a channel gets them in one message.
_STORM = 10
# The first tries come with every run; then each waits twice as long as the one before.
_EAGER_TRIES = 5
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=10), timedelta(hours=6)


def rank(severity: str) -> int:
    """Return the place of a severity among ``SEVERITIES``; one that is unknown ranks lowest."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


@dataclass(frozen=True)
class QuietHours:
    """A time of day, in a time zone, in which nobody wants to be told; it may pass midnight."""

    start: time
    end: time
    timezone: str

    @classmethod
    def parse(cls, text: str, timezone: str) -> QuietHours:
        """Read ``22:00-07:00``."""
        start, end = (time.fromisoformat(part.strip()) for part in text.split("-"))
        return cls(start, end, timezone)

    def covers(self, moment: datetime) -> bool:
        """Tell whether an aware moment is in quiet hours; their end is not."""
        clock = moment.astimezone(ZoneInfo(self.timezone)).time()
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end

    def last_end(self, moment: datetime) -> datetime:
        """Return when quiet hours ended last, at or before an aware moment."""
        zone = ZoneInfo(self.timezone)
        today = moment.astimezone(zone).date()
        ends = (datetime.combine(today - timedelta(days=days), self.end, zone).astimezone(UTC) for days in range(3))
        return max(end for end in ends if end <= moment)

    def hold(self, recorded_at: datetime, now: datetime) -> bool:
        """
        Tell whether what was recorded waits.

        It waits through one night at most: a batch whose runs all fall into quiet hours would wait for ever else.
        """
        return self.covers(now) and self.last_end(now) <= recorded_at


@dataclass(frozen=True)
class HoldingRules:
    """
    How a batch wants to be told.

    :param attempts: tries after which a delivery is abandoned.
    :param budgets: messages per week and channel; beyond, what is to be told waits for the digest.
    :param week: start of the running week, aware; messages since then count.
    :param never_grouped: channels that get every transition on its own, however many there are.
    :param digest_tick: the newest time for a digest that the run has reached; what is older goes out.
    """

    attempts: int = 20
    quiet: QuietHours | None = None
    budgets: Mapping[str, int] = field(default_factory=dict)
    week: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    digest_tick: datetime | None = None
    never_grouped: frozenset[str] = frozenset()

    @classmethod
    def of(cls, spec: BatchSpec, as_of: datetime) -> HoldingRules:
        """Return the rules of a batch for a run that sees the world as of an aware moment."""
        return cls(
            attempts=spec.delivery_attempts,
            quiet=QuietHours.parse(spec.quiet_hours, spec.timezone) if spec.quiet_hours else None,
            budgets=spec.budget_per_week,
            week=start_of_week(as_of, spec.timezone),
            digest_tick=last_tick(spec.digest_cron_schedule, spec.timezone, as_of),
            never_grouped=frozenset(notifier.name for notifier in spec.notifiers if not notifier.group),
        )

    def budget(self, channel: str) -> int | None:
        """Return the budget of a channel; its other destinations (``slack:#payments``) have the same, each its own."""
        return self.budgets.get(channel.partition(":")[0])


def start_of_week(moment: datetime, timezone: str) -> datetime:
    """Return the start of the ISO week of an aware moment, Monday midnight in the zone, as UTC."""
    zone = ZoneInfo(timezone)
    day = moment.astimezone(zone).date()
    return datetime.combine(day - timedelta(days=day.weekday()), time(), zone).astimezone(UTC)


@dataclass(frozen=True)
class Due:
    """A claimed delivery and the alert in it."""

    delivery: Delivery
    alert: Alert

    @property
    def event(self) -> tuple[str, str]:
        """The event as this channel knows it."""
        return self.delivery.channel, self.delivery.event_id

    @property
    def closes(self) -> bool:
        """Whether the event ends with it, or falls silent."""
        return self.alert.transition in CLOSING


@dataclass(frozen=True)
class Parcel:
    """What goes out by one channel in one message."""

    channel: str
    kind: Literal["alert", "storm", "digest"]
    items: tuple[Due, ...]


@dataclass(frozen=True)
class Plan:
    """
    What becomes of everything that is due.

    :param parcels: to send, in the order in which their first transitions were recorded.
    :param waiting: wait for the end of quiet hours, or for a transition of their event that waits itself.
    :param held: wait for the digest.
    :param pausing: were refused often and wait a while, each with the moment of the next try.
    :param pointless: the end of what nobody was told of.
    """

    parcels: Sequence[Parcel]
    waiting: Sequence[Due]
    held: Sequence[Due]
    pausing: Sequence[tuple[Due, datetime]]
    pointless: Sequence[Due]


def plan(
    due: Sequence[Due],
    rules: HoldingRules,
    now: datetime,
    *,
    history: Iterable[Delivery],
    messages: Mapping[str, int],
) -> Plan:
    """
    Decide what goes out now, together with what, and what waits.

    :param due: in the order of recording.
    :param history: all deliveries of the events that end here.
    :param messages: what each channel has acknowledged since ``rules.week``.
    """
    sorted_out = _Sorter(rules, now, history)
    sorted_out.sort(due)
    parcels: list[Parcel] = []
    held = list(sorted_out.held)
    for channel in dict.fromkeys(item.delivery.channel for item in due):
        ready = [item for item in sorted_out.ready if item.delivery.channel == channel]
        is_storm = len(ready) >= _STORM and channel not in rules.never_grouped
        fits, over = _within_budget(ready, rules.budget(channel), messages.get(channel, 0), is_storm=is_storm)
        if is_storm and fits:
            parcels.append(Parcel(channel, "storm", tuple(fits)))
        else:
            parcels += [Parcel(channel, "alert", (item,)) for item in fits]
        held += over
        digest = [item for item in held if item.delivery.channel == channel and _digest_is_due(item, rules, now)]
        if digest:
            parcels.append(Parcel(channel, "digest", tuple(digest)))
    held = [item for item in held if not _digest_is_due(item, rules, now)]
    parcels.sort(key=lambda parcel: min(item.delivery.seq for item in parcel.items))
    return Plan(parcels, sorted_out.waiting, held, sorted_out.pausing, sorted_out.pointless)


class _Sorter:
    """Sorts deliveries into those that are ready and those that wait, one after the other."""

    def __init__(self, rules: HoldingRules, now: datetime, history: Iterable[Delivery]) -> None:
        self._rules = rules
        self._now = now
        self._history: dict[tuple[str, str], list[Delivery]] = {}
        for delivery in history:
            self._history.setdefault((delivery.channel, delivery.event_id), []).append(delivery)
        self.ready: list[Due] = []
        self.waiting: list[Due] = []
        self.held: list[Due] = []
        self.pausing: list[tuple[Due, datetime]] = []
        self.pointless: list[Due] = []

    def sort(self, due: Sequence[Due]) -> None:
        # An opening is not told after its escalation, so what is urgent takes along what it builds on.
        urgent = {item.event for item in due if item.alert.severity == _URGENT}
        paused: set[tuple[str, str]] = set()
        for item in due:
            pause = next_try(item.delivery)
            if item.closes and self._waits_for_its_opening(item):
                continue
            if pause is not None and pause > self._now:
                self.pausing.append((item, pause))
                paused.add(item.event)
            elif item.event in paused:
                self.waiting.append(item)
            elif item.delivery.status == "held":
                self.held.append(item)
            elif self._is_quiet(item, urgent):
                self.waiting.append(item)
            else:
                self.ready.append(item)

    def _is_quiet(self, item: Due, urgent: set[tuple[str, str]]) -> bool:
        quiet, recorded_at = self._rules.quiet, item.delivery.recorded_at
        if quiet is None or recorded_at is None or item.event in urgent:
            return False
        return quiet.hold(recorded_at, self._now)

    def _waits_for_its_opening(self, item: Due) -> bool:
        """Tell whether an end is not told as any other transition is, and sort it."""
        before = [each for each in self._history.get(item.event, ()) if each.transition not in CLOSING]
        ready = {each.delivery.seq for each in self.ready}
        if any(each.status in ("pending", "failed") and each.seq not in ready for each in before):
            self.waiting.append(item)
        elif any(each.status == "sent" or each.seq in ready for each in before):
            return False
        elif any(each.status == "held" for each in before):
            self.held.append(item)
        else:
            self.pointless.append(item)
        return True


def next_try(delivery: Delivery) -> datetime | None:
    """Return when a delivery that was refused often is tried again; None while every run tries it."""
    pauses = delivery.attempts - _EAGER_TRIES
    if pauses < 0 or delivery.tried_at is None:
        return None
    pause: timedelta = min(_FIRST_PAUSE * 2 ** min(pauses, 10), _LONGEST_PAUSE)
    return delivery.tried_at + pause


def _digest_is_due(item: Due, rules: HoldingRules, now: datetime) -> bool:
    recorded_at = item.delivery.recorded_at
    if rules.digest_tick is None or recorded_at is None or recorded_at >= rules.digest_tick:
        return False
    return rules.quiet is None or not rules.quiet.hold(recorded_at, now)


def _within_budget(
    ready: Sequence[Due], budget: int | None, spent: int, *, is_storm: bool
) -> tuple[list[Due], list[Due]]:
    """Split into what may go out and what is beyond the budget; the most severe events go out first."""
    if budget is None:
        return list(ready), []
    left = max(0, budget - spent)
    if left and is_storm:
        return list(ready), []  # in one message
    worst: dict[tuple[str, str], int] = {}
    for item in ready:
        own = -1 if item.alert.transition == ROUTINE else rank(item.alert.severity)
        worst[item.event] = max(worst.get(item.event, own), own)
    chosen = {item.delivery.seq for item in sorted(ready, key=lambda item: -worst[item.event])[:left]}
    fits = [item for item in ready if item.delivery.seq in chosen]
    return fits, [item for item in ready if item.delivery.seq not in chosen]

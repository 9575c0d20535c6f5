"""The examples that ask a service, against a server on loopback that answers in the services' shapes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.examples import services as made_up
from tests.examples.conftest import example, fetched, opened, previewed
from tests.examples.services import PLANTED, SECRET, Answer, Services, days, midnight

# Ten days, over two weekends: the planted one is the fourth.
START, END = "2026-05-09", "2026-05-19"
DAYS = days(date(2026, 5, 9), date(2026, 5, 18))

Rows = dict[tuple[datetime, str], float]


def daily(**metrics: Callable[[date], float]) -> Rows:
    return {(midnight(day), name): value(day) for day in DAYS for name, value in metrics.items()}


def airflow_runs() -> Rows:
    rows = {}
    for day in DAYS:
        runs = made_up.airflow_runs_of(day)
        failed = sum(state == "failed" for state, _, _ in runs)
        minutes = sum((ended - started).total_seconds() / 60 for _, started, ended in runs)
        values = {"runs": len(runs), "failed": failed, "failed_pct": 100 * failed / len(runs)}
        rows |= {(midnight(day), name): v for name, v in (values | {"minutes_mean": minutes / len(runs)}).items()}
    return rows


def currency() -> Rows:
    working = [day for day in DAYS if day.isoweekday() <= 5]
    return {(midnight(day), f"EUR/{name}"): made_up.rate_of(name, day) for day in working for name in made_up.EURO}


def crypto_spans() -> Rows:
    def span(day: date) -> float:
        _, low, high, _, close, _ = made_up.candle_of("BTC-USD", day)
        return 100 * (high - low) / close

    return daily(**{"BTC-USD.span_pct": span})


def every(minutes: int, name: str, value: Callable[[datetime], float]) -> Rows:
    first, count = midnight(DAYS[0]), len(DAYS) * 24 * 60 // minutes
    moments = [first + timedelta(minutes=minutes * n) for n in range(count)]
    return {(moment, name): value(moment) for moment in moments}


def quakes(day: date) -> int:
    return len(made_up.magnitudes_of(day))


def commits(name: str) -> Rows:
    return daily(**{f"commits.{name}": lambda day: made_up.commits_of(name, day)})


# Batch -> the rows it has to give for the ten days, or one metric of them; how many rows it gives in all.
EXPECTED: dict[str, tuple[Callable[[], Rows], int]] = {
    "airflow_runs": (airflow_runs, 40),
    "github": (lambda: commits("yzhao062/pyod") | commits("pydantic/pydantic"), 20),
    "hacker_news": (lambda: daily(show_hn=lambda day: made_up.posts_of("show_hn", day)), 40),
    "weather": (lambda: daily(**{"rain.Berlin": lambda day: made_up.rain_of(52.52, day)}), 90),
    "currency": (currency, 24),
    "crypto": (crypto_spans, 60),
    "earthquakes": (lambda: daily(earthquakes=quakes, strongest=lambda day: max(made_up.magnitudes_of(day))), 20),
    "stocks": (
        lambda: {(midnight(day), "IBM.volume"): made_up.volume_of("IBM", day) for day in DAYS if day.isoweekday() <= 5},
        36,
    ),
    "prometheus": (lambda: every(5, "requests_per_second", made_up.requests_at), 3 * 2880),
    "netdata": (lambda: every(10, "system.cpu.user", made_up.user_at), 5 * 1440),
    "posthog": (lambda: daily(**{"purchase.events": lambda day: made_up.events_of("purchase", day)}), 60),
}
# What the planted day is found by.
FOUND = {
    "airflow_runs": ("failed", "up"),
    "github": ("commits.yzhao062/pyod", "up"),
    "hacker_news": ("show_hn", "up"),
    "weather": ("rain.Berlin", "up"),
    "currency": ("EUR/CHF", "down"),
    "crypto": ("BTC-USD.span_pct", "up"),
    "earthquakes": ("earthquakes", "up"),
    "stocks": ("IBM.volume", "up"),
    "prometheus": ("requests_per_second", "down"),
    "netdata": ("system.cpu.user", "up"),
    "posthog": ("purchase.events", "down"),
}


def moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.fromisoformat(value).replace(tzinfo=UTC)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_rows_are_those_of_the_window(name: str, services: Services) -> None:
    rows, count = EXPECTED[name]
    answer = fetched(example(name), START, END)
    got = {(moment(t), n): v for t, n, v in answer.itertuples(index=False)}
    assert len(got) == len(answer) == count
    for key, value in rows().items():
        assert got[key] == pytest.approx(value), key


@pytest.mark.parametrize("name", FOUND)
def test_what_stands_out_is_alerted(name: str, services: Services) -> None:
    metric, direction = FOUND[name]
    spec = example(name)
    # Two weeks of minutes, a season of days.
    short = name in ("prometheus", "netdata")
    end = f"{PLANTED + timedelta(days=2) + spec.completeness_delay}"
    found = previewed(spec, "2026-04-28" if short else "2026-02-01", "2026-05-11", end)
    assert (metric, direction) in {(m, way) for m, bucket, way in opened(found) if bucket[:10] == f"{PLANTED}"}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize(
    "fault",
    [
        Answer("upstream fell over", 500, {"Content-Type": "text/plain"}),
        Answer({"message": "slow down"}, 429, {"Retry-After": "0"}),
    ],
    ids=["500", "429"],
)
def test_a_fault_that_passes_changes_nothing(name: str, fault: Answer, services: Services) -> None:
    whole = fetched(example(name), START, END)
    asked = len(services.asked)
    services.faults += [fault, fault]
    assert fetched(example(name), START, END).equals(whole)
    assert len(services.asked) == 2 * asked + 2


@pytest.mark.parametrize("name", EXPECTED)
def test_another_form_of_the_answer_is_named(name: str, services: Services) -> None:
    services.faults += [Answer({"unexpected": True})] * 3
    with pytest.raises(RuntimeError, match=r"/\S+: the answer has not the expected form \(\w+Error: .*did the API"):
        fetched(example(name), START, END)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_service_that_stays_down_is_named_without_secrets(name: str, services: Services) -> None:
    services.faults += [Answer(f"no, {SECRET} again", 503, {"Content-Type": "text/plain"})] * 4
    with pytest.raises(RuntimeError) as error:
        fetched(example(name), START, END)
    text = str(error.value)
    assert "http://127.0.0.1:" in text
    assert ": 503 Service Unavailable: no, " in text
    assert "the next run asks for the window again" in text
    assert "?" not in text
    if name in ("airflow_runs", "github", "stocks", "prometheus", "posthog"):
        assert "no, *** again" in text
        assert SECRET not in text
    assert len(services.asked) == 4


def test_a_service_that_does_not_answer_is_given_up(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_TIME_OUT", "0.1")
    services.faults += [Answer({}, delay=1)] * 4
    with pytest.raises(RuntimeError, match=r"^GET http://\S+/query: no answer within 0.1 s, 4 tries") as error:
        fetched(example("stocks"), START, END)
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert len(services.asked) == 4


def test_a_time_out_that_passes_changes_nothing(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fetched(example("currency"), START, END)
    monkeypatch.setenv("EXAMPLE_TIME_OUT", "0.2")
    services.faults += [Answer({}, delay=1)]
    assert fetched(example("currency"), START, END).equals(whole)


def test_nothing_listens(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_WEATHER_URL", "http://127.0.0.1:1")
    with pytest.raises(RuntimeError, match=r"no connection \(NewConnectionError\), 4 tries; is the address right\?"):
        fetched(example("weather"), START, END)


def test_asked_too_often_for_good(services: Services) -> None:
    services.faults += [Answer({"message": "API rate limit exceeded"}, 429)] * 4
    with pytest.raises(RuntimeError, match=r"429 Too Many Requests: .*rate limit exceeded.*run the batch less often"):
        fetched(example("github"), START, END)


def test_as_long_as_the_service_asks_for_is_waited(services: Services) -> None:
    import time

    services.faults += [Answer({}, 429, {"Retry-After": "1"})]
    begins = time.monotonic()
    fetched(example("currency"), START, END)
    assert time.monotonic() - begins >= 1


def test_a_page_of_html_is_not_taken_for_an_answer(services: Services) -> None:
    services.faults += [Answer("<html><title>Log in</title></html>", headers={"Content-Type": "text/html"})]
    with pytest.raises(RuntimeError, match=r"/v1/archive: the answer is not JSON: <html><title>Log in"):
        fetched(example("weather"), START, END)


def test_a_wrong_key_says_where_to_mend_it(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_POSTHOG", monkey_key(services, "posthog"))
    with pytest.raises(RuntimeError, match=r"401 Unauthorized: .*check the key or the password in the Airflow"):
        fetched(example("posthog"), START, END)


def test_an_excuse_of_status_200_is_an_error(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alpha Vantage answers 200 and repeats the key."""
    monkeypatch.setenv("AIRFLOW_CONN_ALPHAVANTAGE", monkey_key(services, "stocks"))
    with pytest.raises(RuntimeError, match=r"/stocks/query: no prices of IBM: the parameter apikey \(\*\*\*\) is inv"):
        fetched(example("stocks"), START, END)


def monkey_key(services: Services, service: str) -> str:
    import json

    host = f"{services.url}/{service}"
    return json.dumps({"conn_type": "http", "host": host, "password": "wrong", "extra": {"project_id": 12345}})


def test_a_missing_connection_is_named(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_NETDATA")
    with pytest.raises(Exception, match="netdata"):
        fetched(example("netdata"), START, END)


def test_a_connection_without_what_it_needs_is_named(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NETDATA", '{"conn_type": "http"}')
    with pytest.raises(RuntimeError, match="the Airflow connection 'netdata' has no host"):
        fetched(example("netdata"), START, END)
    monkeypatch.setenv("AIRFLOW_CONN_POSTHOG", '{"conn_type": "http", "host": "https://eu.posthog.com"}')
    with pytest.raises(RuntimeError, match="the Airflow connection 'posthog' has no project_id in its extra"):
        fetched(example("posthog"), START, END)
    assert services.asked == []


def test_all_pages_are_asked_for(services: Services) -> None:
    """Both give a hundred at a time: Airflow by offset, GitHub by a link to the next page."""
    answer = fetched(example("airflow_runs"), START, END)
    runs = answer[answer["metric_name"] == "runs"]["metric_value"].sum()
    pages = [request for request in services.asked if request.path.endswith("/dagRuns")]
    assert [int(page.query["offset"]) for page in pages] == list(range(0, int(runs), 100))
    services.asked.clear()
    fetched(example("github"), "2026-04-01", "2026-05-01")
    found = [r.query["page"] for r in services.asked if r.path.endswith("/pyod/commits") and "page" in r.query]
    assert found == ["2", "3"]


def test_a_page_on_another_host_does_not_get_the_token(services: Services) -> None:
    elsewhere = {"Link": '<http://localhost:1/repos/x/y/commits?page=2>; rel="next"'}
    services.faults += [Answer([], headers=elsewhere)]
    with pytest.raises(RuntimeError, match="the next page is on another host: http://localhost:1/repos/x/y/commits"):
        fetched(example("github"), START, END)


def test_what_github_knows_only_as_it_is_now_is_not_written_into_the_past(services: Services) -> None:
    past = fetched(example("github"), START, END)
    assert set(past["metric_name"].str.partition(".")[0]) == {"commits"}
    today = datetime.now(UTC).date()
    now = fetched(example("github"), f"{today - timedelta(days=1)}", f"{today}")
    assert set(now["metric_name"].str.partition(".")[0]) == {"commits", "stars", "open_issues", "forks"}


def test_what_comes_late_is_left_out_and_fetched_again(services: Services) -> None:
    """Open-Meteo's newest days are null: no rows; the next window that begins there has them."""
    answer = fetched(example("weather"), "2026-05-25", "2026-06-05")
    rain = answer[answer["metric_name"] == "rain.Berlin"].set_index("metric_timestamp")["metric_value"]
    assert rain.notna().to_dict() == {
        f"{day}": day < made_up.RECORDED for day in days(date(2026, 5, 25), date(2026, 6, 4))
    }
    found = previewed(example("weather"), "2026-02-01", "2026-06-01", "2026-06-05")
    assert {alert.kind for alert in found.alerts} <= {"anomaly"}


def test_a_query_that_gives_several_series_needs_labels(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = example("prometheus").model_copy(
        update={"prometheus_queries": ({"name": "errors", "query": '{code=~"5.."}'},)}
    )
    with pytest.raises(RuntimeError, match="query errors gives 2 series: sum them, or name labels"):
        fetched(spec, "2026-05-09", "2026-05-10")

"""
One HTTP server on loopback that answers as the services of the network examples do: same paths, parameters and shapes.

The values are made up and depend on their day alone. On ``PLANTED`` each service has something to find.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

PLANTED = date(2026, 5, 12)
# The day on which the answers were "recorded": what reports late has nothing from here on.
RECORDED = date(2026, 6, 1)
SECRET = "s3cr3t-key"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None


@dataclass(frozen=True)
class Answer:
    """What a service says; ``body`` is JSON, or text as it is."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0


class Services(ThreadingHTTPServer):
    """
    :param asked: every request, oldest first.
    :param faults: answers to give first, in the place of the true ones.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Request] = []
        self.faults: list[Answer] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Return the variables that send the examples here; the keys are part of the connections."""
        public = ("GITHUB", "HACKER_NEWS", "WEATHER", "CURRENCY", "CRYPTO", "EARTHQUAKES", "STOCKS")
        addresses = {f"EXAMPLE_{name}_URL": f"{self.url}/{name.lower()}" for name in public}
        connections: dict[str, dict[str, Any]] = {
            "AIRFLOW_API": {"host": f"{self.url}/airflow", "login": "admin", "password": SECRET},
            "GITHUB": {"password": SECRET},
            "ALPHAVANTAGE": {"password": SECRET},
            "PROMETHEUS": {"host": f"{self.url}/prometheus", "login": "grafana", "password": SECRET},
            "NETDATA": {"host": "127.0.0.1", "port": self.server_address[1], "schema": "http"},
            "POSTHOG": {"host": f"{self.url}/posthog", "password": SECRET, "extra": {"project_id": 12345}},
        }
        ids = {f"AIRFLOW_CONN_{name}": json.dumps({"conn_type": "http", **c}) for name, c in connections.items()}
        speed = {"EXAMPLE_WAIT": "0", "EXAMPLE_PAUSE": "0", "EXAMPLE_TIME_OUT": "5", "NO_PROXY": "127.0.0.1"}
        return addresses | ids | speed

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.faults:
            return self.faults.pop(0)
        for prefix, service in SERVICES.items():
            if request.path.startswith(prefix):
                return service(request)
        return Answer({"error": "not found"}, 404)


@contextmanager
def running() -> Iterator[Services]:
    server = Services()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Services

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        answer = self.server.answer(Request(self.command, parts.path, query, dict(self.headers), body))
        time.sleep(answer.delay)
        raw = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        try:
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw.encode())))
            self.end_headers()
            self.wfile.write(raw.encode())
        except (BrokenPipeError, ConnectionResetError):
            pass  # whoever asked did not wait

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def noise(*key: object) -> float:
    """Return about -2 to 2, the same for the same key."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return (sum(digest[:8]) / 255 - 4) * 1.2


def days(first: date, last: date) -> list[date]:
    """Return both and the days between them."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def day_of(text: str) -> date:
    return datetime.fromisoformat(text).astimezone(UTC).date()


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def bearer(request: Request) -> bool:
    return request.headers.get("Authorization") == f"Bearer {SECRET}"


# --- Airflow's REST API ---


@cache
def airflow_runs_of(day: date) -> list[tuple[str, datetime, datetime]]:
    """Return (state, start, end) of the runs that ended in a day."""
    runs = []
    failing = 15 if day == PLANTED else round(1.5 + 0.6 * noise("failed", day))
    for n in range(40 + round(2 * noise("runs", day))):
        ended = midnight(day) + timedelta(minutes=30 * n + 5)
        minutes = 12 + 2 * noise("minutes", day, n)
        runs.append(("failed" if n < failing else "success", ended - timedelta(minutes=minutes), ended))
    return runs


def airflow(request: Request) -> Answer:
    if request.path == "/airflow/auth/token":
        good = request.body == {"username": "admin", "password": SECRET}
        return Answer({"access_token": SECRET}, 201) if good else Answer({"detail": "Invalid credentials"}, 401)
    if not bearer(request):
        return Answer({"detail": "Not authenticated"}, 401)
    since, until = (datetime.fromisoformat(request.query[f"end_date_{side}"]) for side in ("gte", "lt"))
    found = [
        {
            "dag_run_id": f"scheduled__{ended.isoformat()}",
            "dag_id": "orders",
            "state": state,
            "run_type": "scheduled",
            "start_date": started.isoformat().replace("+00:00", "Z"),
            "end_date": ended.isoformat().replace("+00:00", "Z"),
        }
        for day in days(since.date(), until.date())
        for state, started, ended in airflow_runs_of(day)
        if since <= ended < until
    ]
    offset, limit = int(request.query["offset"]), min(int(request.query["limit"]), 100)
    return Answer({"dag_runs": found[offset : offset + limit], "total_entries": len(found)})


# --- GitHub ---


def commits_of(name: str, day: date) -> int:
    weekend = 0.3 if day.isoweekday() >= 6 else 1.0
    return 45 if day == PLANTED else max(0, round(weekend * (9 + 2 * noise("commits", name, day))))


def github(request: Request) -> Answer:
    if not bearer(request):
        return Answer({"message": "Bad credentials", "status": "401"}, 401)
    _, _, _, owner, repository, *rest = request.path.split("/")
    name = f"{owner}/{repository}"
    if not rest:
        return Answer({"full_name": name, "stargazers_count": 8123, "open_issues_count": 211, "forks_count": 1388})
    since, until = (datetime.fromisoformat(request.query[side]) for side in ("since", "until"))
    moments = [
        midnight(day) + timedelta(minutes=9 * n)
        for day in days(since.date(), until.date())
        for n in range(commits_of(name, day))
    ]
    found = [moment for moment in reversed(moments) if since <= moment <= until]
    page, per_page = int(request.query.get("page", 1)), int(request.query["per_page"])
    part = found[(page - 1) * per_page : page * per_page]
    body = [
        {"sha": f"{noise(moment)}", "commit": {"committer": {"date": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}}}
        for moment in part
    ]
    headers = {}
    if page * per_page < len(found):
        host = request.headers["Host"]
        where = f"since={since:%Y-%m-%dT%H:%M:%SZ}&until={until:%Y-%m-%dT%H:%M:%SZ}&per_page={per_page}"
        headers["Link"] = f'<http://{host}{request.path}?{where}&page={page + 1}>; rel="next"'
    return Answer(body, headers=headers)


# --- Hacker News, as Algolia searches it ---

HN_USUAL = {"story": 1000, "comment": 11000, "show_hn": 90, "ask_hn": 50}


def posts_of(kind: str, day: date) -> int:
    weekend = 0.75 if day.isoweekday() >= 6 else 1.0
    planted = 2.0 if (kind, day) == ("show_hn", PLANTED) else 1.0
    return round(HN_USUAL[kind] * weekend * planted * (1 + 0.04 * noise("hn", kind, day)))


def hacker_news(request: Request) -> Answer:
    after, before = request.query["numericFilters"].split(",")
    begins, ends = int(after.removeprefix("created_at_i>=")), int(before.removeprefix("created_at_i<"))
    assert (ends - begins, request.query["hitsPerPage"]) == (86_400, "0")
    number = posts_of(request.query["tags"], datetime.fromtimestamp(begins, UTC).date())
    return Answer({"hits": [], "nbHits": number, "page": 0, "nbPages": 0, "hitsPerPage": 0, "processingTimeMS": 3})


# --- Open-Meteo ---


def rain_of(latitude: float, day: date) -> float:
    return 62.0 if (day, latitude) == (PLANTED, 52.52) else round(max(0.0, 2 + 2 * noise("rain", latitude, day)), 1)


def weather(request: Request) -> Answer:
    if request.query["daily"] != "temperature_2m_mean,precipitation_sum,wind_speed_10m_max":
        return Answer({"error": True, "reason": "Data corrupted at path ''."}, 400)
    where = float(request.query["latitude"])
    listed = days(date.fromisoformat(request.query["start_date"]), date.fromisoformat(request.query["end_date"]))
    known = [day if day < RECORDED else None for day in listed]
    daily = {
        "time": [f"{day}" for day in listed],
        "temperature_2m_mean": [day and round(14 + 2 * noise("temperature", where, day), 1) for day in known],
        "precipitation_sum": [day and rain_of(where, day) for day in known],
        "wind_speed_10m_max": [day and round(18 + 3 * noise("wind", where, day), 1) for day in known],
    }
    units = {"time": "iso8601", "temperature_2m_mean": "°C", "precipitation_sum": "mm", "wind_speed_10m_max": "km/h"}
    place = {"latitude": where, "longitude": float(request.query["longitude"]), "utc_offset_seconds": 0}
    return Answer(place | {"timezone": "GMT", "daily_units": units, "daily": daily})


# --- Frankfurter ---

EURO = {"USD": 1.1, "GBP": 0.86, "CHF": 0.95, "JPY": 162.0}


def rate_of(currency: str, day: date) -> float:
    fall = 0.93 if (currency, day) == ("CHF", PLANTED) else 1.0
    return round(EURO[currency] * fall * (1 + 0.002 * noise("rate", currency, day)), 4)


def currency(request: Request) -> Answer:
    first, last = (date.fromisoformat(text) for text in request.path.rpartition("/")[2].split(".."))
    while first.isoweekday() > 5:  # from the working day before on
        first -= timedelta(days=1)
    names = request.query["symbols"].split(",")
    rates = {f"{day}": {n: rate_of(n, day) for n in names} for day in days(first, last) if day.isoweekday() <= 5}
    return Answer({"amount": 1.0, "base": "EUR", "start_date": f"{first}", "end_date": f"{last}", "rates": rates})


# --- Coinbase ---


def candle_of(product: str, day: date) -> list[float]:
    """Return time, low, high, open, close and volume of a day."""
    close = (60_000 if product == "BTC-USD" else 3_000) * (1 + 0.01 * noise("close", product, day))
    span = 0.30 if (product, day) == ("BTC-USD", PLANTED) else 0.03 + 0.004 * noise("span", product, day)
    volume = 9_000 + 500 * noise("volume", product, day)
    return [midnight(day).timestamp(), close * (1 - span / 2), close * (1 + span / 2), close, close, volume]


def crypto(request: Request) -> Answer:
    listed = days(day_of(request.query["start"]), day_of(request.query["end"]))
    if len(listed) > 300:
        return Answer({"message": "granularity too small for the requested time range"}, 400)
    product = request.path.split("/")[-2]
    return Answer([candle_of(product, day) for day in reversed([listed[0] - timedelta(days=1), *listed])])


# --- U.S. Geological Survey ---


def magnitudes_of(day: date) -> list[float]:
    number = 70 if day == PLANTED else round(15 + 3 * noise("quakes", day))
    return [round(4.5 + abs(noise("magnitude", day, n)) * 0.5, 1) for n in range(number)]


def earthquakes(request: Request) -> Answer:
    since, until = (datetime.fromisoformat(request.query[side]) for side in ("starttime", "endtime"))
    found = [
        {
            "type": "Feature",
            "properties": {"mag": mag, "time": int(moment.timestamp() * 1000), "type": "earthquake"},
            "geometry": {"type": "Point", "coordinates": [140.1, 37.5, 35.0]},
            "id": f"us{day:%Y%m%d}{n}",
        }
        for day in days(since.date(), until.date())
        for n, mag in enumerate(magnitudes_of(day))
        if since <= (moment := midnight(day) + timedelta(minutes=15 * n)) <= until
    ]
    offset, limit = int(request.query["offset"]), int(request.query["limit"])
    part = found[offset - 1 : offset - 1 + limit]
    metadata = {"title": "USGS Earthquakes", "status": 200, "count": len(part), "limit": limit, "offset": offset}
    return Answer({"type": "FeatureCollection", "metadata": metadata, "features": part})


# --- Alpha Vantage ---


def volume_of(symbol: str, day: date) -> int:
    many = 4 if (symbol, day) == ("IBM", PLANTED) else 1
    return round(many * 4_000_000 * (1 + 0.05 * noise("shares", symbol, day)))


def stocks(request: Request) -> Answer:
    symbol, key = request.query["symbol"], request.query["apikey"]
    if key != SECRET:
        return Answer({"Error Message": f"the parameter apikey ({key}) is invalid or missing."})
    trading = [day for day in days(RECORDED - timedelta(days=150), RECORDED) if day.isoweekday() <= 5][-100:]
    prices = {}
    for day in reversed(trading):
        close = 200 * (1 + 0.01 * noise("price", symbol, day))
        prices[f"{day}"] = {
            "1. open": f"{close:.4f}",
            "2. high": f"{close * 1.01:.4f}",
            "3. low": f"{close * 0.99:.4f}",
            "4. close": f"{close:.4f}",
            "5. volume": f"{volume_of(symbol, day)}",
        }
    meta = {"1. Information": "Daily Prices (open, high, low, close) and Volumes", "2. Symbol": symbol}
    return Answer({"Meta Data": meta, "Time Series (Daily)": prices})


# --- Prometheus ---


def requests_at(moment: datetime) -> float:
    down = 0.2 if moment.date() == PLANTED and moment.hour == 10 else 1.0
    return round(down * (50 + 2 * noise("requests", moment)), 3)


def prometheus(request: Request) -> Answer:
    given = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
    if given != f"grafana:{SECRET}":
        return Answer("Unauthorized", 401, {"Content-Type": "text/plain"})
    start, end = (datetime.fromisoformat(request.query[side]) for side in ("start", "end"))
    assert request.query["step"] == "5m"
    moments = []
    while start <= end:
        moments.append(start)
        start += timedelta(minutes=5)
    if "5.." in request.query["query"]:
        found = [
            {"metric": {"job": job}, "values": [[m.timestamp(), f"{1 + 0.1 * noise(job, m):.4f}"] for m in moments]}
            for job in ("api", "shop")
        ]
    else:
        found = [{"metric": {}, "values": [[m.timestamp(), str(requests_at(m))] for m in moments]}]
    return Answer({"status": "success", "data": {"resultType": "matrix", "result": found}})


# --- Netdata ---


def user_at(begins: datetime) -> float:
    busy = 60 if begins.date() == PLANTED and begins.hour == 3 else 0
    return round(15 + busy + 1.5 * noise("user", begins), 3)


def netdata(request: Request) -> Answer:
    after, before, points = (int(request.query[name]) for name in ("after", "before", "points"))
    step = (before - after) // points
    ends = [after + step * (n + 1) for n in range(points)][::-1]  # newest first, by the end of what is averaged
    begins = [datetime.fromtimestamp(end - step, UTC) for end in ends]
    chart = request.query["chart"]
    names = {"system.cpu": ["user", "system"], "system.load": ["load1"], "system.net": ["received", "sent"]}[chart]
    rows = []
    for end, moment in zip(ends, begins, strict=True):
        usual = [round(20 + noise(chart, name, moment), 3) for name in names]
        rows.append([end, *([user_at(moment), usual[1]] if chart == "system.cpu" else usual)])
    return Answer({"labels": ["time", *names], "data": rows})


# --- PostHog ---


def events_of(event: str, day: date) -> int:
    lost = 0.2 if (event, day) == ("purchase", PLANTED) else 1.0
    usual = {"$pageview": 8000, "sign_up": 120, "purchase": 300}[event]
    return round(usual * lost * (1 + 0.04 * noise("event", event, day)))


def posthog(request: Request) -> Answer:
    if not bearer(request):
        return Answer({"type": "authentication_error", "code": "authentication_failed", "detail": "Invalid key."}, 401)
    query = request.body["query"]
    assert (request.path, query["kind"]) == ("/posthog/api/projects/12345/query/", "HogQLQuery")
    _, since, _, _, _, until, *_ = query["query"].partition("toDateTime(")[2].split("'")
    first, last = date.fromisoformat(since[:10]), date.fromisoformat(until[:10])
    rows = [
        [f"{day}T00:00:00Z", event, events_of(event, day), events_of(event, day) // 3]
        for day in days(first, last - timedelta(days=1))
        for event in ("$pageview", "purchase", "sign_up")
    ]
    return Answer({"columns": ["day", "event", "number", "people"], "results": rows, "hasMore": False, "limit": 10_000})


SERVICES: dict[str, Callable[[Request], Answer]] = {
    "/airflow/": airflow,
    "/github/": github,
    "/hacker_news/": hacker_news,
    "/weather/": weather,
    "/currency/": currency,
    "/crypto/": crypto,
    "/earthquakes/": earthquakes,
    "/stocks/": stocks,
    "/prometheus/": prometheus,
    "/api/v1/data": netdata,
    "/posthog/": posthog,
}

"""The dashboard's pages through Airflow's own API server: what is shown, to whom, and of what is left out."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.steps import dashboard
from anomstack_provider.steps.period import Period
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore
from anomstack_provider.ui.views import Panel
from tests.ui.conftest import HOSTILE, Server

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

BOARD = "anomstack_board"
HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def test_home_has_a_card_per_batch_with_the_most_alerts_first(server: Server) -> None:
    page = server.page("", window="90n")
    assert page.status == 200
    assert page.headings()[0] == "board"
    assert {"board", "kept", "own", "shop"} <= set(page.headings())
    assert "hidden" not in page.headings(), "disable_dashboard"
    assert "anomstack_summary" not in page.text, "no batch"


def test_a_batch_that_cannot_be_read_says_so_and_the_others_are_there(server: Server) -> None:
    page = server.page("")
    assert "Cannot be read now." in page.text
    assert "`nowhere`" in html.unescape(page.text)
    assert {"lost", "board"} <= set(page.headings())
    lost = server.page("batch", dag_id="anomstack_lost")
    assert (lost.status, "nowhere" in lost.text) == (503, True)


def test_a_database_that_another_process_holds_is_waited_for_briefly(server: Server) -> None:
    command = [sys.executable, "-c", HOLD, str(server.home / "metrics.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        began = time.monotonic()
        page = server.page("")
        took = time.monotonic() - began
        holder.communicate()
    assert page.status == 200
    assert "still busy" in page.text
    assert "own" in page.headings(), "in another file"
    assert took < 30
    assert "still busy" not in server.page("").text


def test_nobody_sees_what_they_may_not_read(server: Server) -> None:
    assert {server.page(path, None, dag_id=BOARD).status for path in ("", "batch", "metric", "anomalies")} == {401}
    home = server.page("", "nina")
    assert (home.status, home.headings()) == (200, ["kept"])
    for secret in ("board", "shop", "own", "lost", "hidden"):
        assert secret not in home.text
    for path in ("batch", "metric", "anomalies"):
        answer = server.page(path, "nina", dag_id=BOARD, metric_name="spiked")
        assert (answer.status, "spiked" in answer.text) == (403, False)
    assert server.page("batch", "nina", dag_id="anomstack_kept").status == 200
    assert server.page("batch", "nina", dag_id="~").status == 404
    assert "spiked" not in server.page("batch", "nina", dag_id="~").text


def test_a_batch_has_a_chart_per_metric_the_highest_rate_first_and_more_on_demand(server: Server) -> None:
    page = server.page("batch", dag_id=BOARD)
    assert page.status == 200
    assert page.headings()[0] == "planted"
    assert len(page.headings()) == 24
    rates = [float(rate) for rate in re.findall(r"<dt>anomaly rate</dt><dd>([\d.]+) %", page.text)]
    assert rates == sorted(rates, reverse=True)
    assert page.text.count('role="img"') == 24
    assert "Load more" in page.text
    more = server.page("batch", dag_id=BOARD, shown=48)
    assert len(more.headings()) == 38
    assert "Load more" not in more.text


def test_a_chart_has_value_expected_range_score_and_alert(server: Server) -> None:
    page = server.page("metric", dag_id=BOARD, metric_name="spiked")
    assert page.status == 200
    svg = page.text[page.text.index('<svg viewBox="0 0 1080') :]
    for mark in ("value", "expected", "range", "score", "threshold", "alert"):
        assert f'class="{mark}"' in svg
    assert "EUR" in page.text


def test_a_page_of_fifty_metrics_with_ninety_buckets_takes_less_than_a_second(tmp_path: Path) -> None:
    spec = BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "select 1"})
    store = MetricStore(EmbeddedDuckDBHook(tmp_path / "m.duckdb"), "metrics", "b")
    now = datetime.now(UTC)
    times = pd.date_range(end=now.date(), periods=120, freq="1D").to_numpy("datetime64[us]")
    said = {
        "value": 1.0,
        "expected": 1.0,
        "lower": 0.5,
        "upper": 1.5,
        "grain": "1d",
        "model": "2024-01-01T00:00:00+00:00",
    }
    for number in range(50):
        put = {"metric_name": f"m{number}", "metric_timestamp": times, "metric_value": np.arange(120.0) % 7}
        store.replace(pd.DataFrame({**put, "metric_type": "metric", "metadata": None}))
        store.replace(pd.DataFrame({**put, "metric_type": "score", "metric_value": 0.2, "metadata": json.dumps(said)}))
    took = []
    for _ in range(4):  # the first one imports and opens what the others find
        began = time.perf_counter()
        board = dashboard.read(spec, store, Period.parse("90n"), now)
        panels = [Panel.of(board, metric) for metric in board.metrics]
        took.append(time.perf_counter() - began)
    assert [len(panels), *{panel.problem for panel in panels}] == [50, ""]
    assert "90 values" in panels[0].chart
    assert min(took) < 1, took


def test_search_and_window(server: Server) -> None:
    assert server.page("batch", dag_id=BOARD, q="NORTH orders").headings() == ["Orders in the north"]
    assert "No metric has" in server.page("batch", dag_id=BOARD, q="nothing like it").text
    assert "60 values" in server.page("metric", dag_id=BOARD, metric_name="spiked", window="90n").text
    assert " 7 values" in server.page("metric", dag_id=BOARD, metric_name="spiked", window="7n").text
    assert " 4 values" in server.page("metric", dag_id=BOARD, metric_name="spiked", window="120h").text
    refused = server.page("batch", dag_id=BOARD, window="soon")
    assert refused.status == 400
    assert "write 90n (buckets), 24h, 45m or 7d" in refused.text
    assert len(refused.headings()) == 24


def test_stale_metrics_are_hidden_until_asked_for(server: Server) -> None:
    page = server.page("batch", dag_id=BOARD, shown=100)
    assert "gone" not in page.headings()
    assert "1 stale hidden" in page.text
    assert "gone" in server.page("batch", dag_id=BOARD, shown=100, stale=1).headings()
    assert "All 2 metrics are stale" in server.page("batch", dag_id="anomstack_kept").text


def test_dashboard_sql_gives_the_points(server: Server) -> None:
    page = server.page("batch", dag_id="anomstack_own", stale=1)
    assert page.headings() == ["doubled"], page.text


def test_a_batch_may_be_left_out(server: Server) -> None:
    page = server.page("batch", dag_id="anomstack_hidden")
    assert (page.status, "left out of the dashboard" in page.text) == (404, True)


def test_a_dag_without_a_batch_says_so(server: Server) -> None:
    assert server.page("batch", dag_id="no_such_dag").status == 404
    page = server.page("batch", dag_id="says_nothing")
    assert (page.status, "names no metric batch" in page.text) == (409, True)


@pytest.mark.parametrize("name", HOSTILE, ids=str)
def test_any_name_is_escaped_and_has_an_address(server: Server, name: str) -> None:
    page = server.page("metric", dag_id=BOARD, metric_name=name)
    assert page.status == 200
    assert html.escape(name, quote=False).replace("'", "&#39;") in page.text.replace("&#34;", '"')
    assert "<script>alert" not in page.text
    assert "49" not in page.text[page.text.index("<h2>") : page.text.index("</h2>")]
    assert name in server.page("batch", dag_id=BOARD, q=name).headings()


def test_a_metric_that_is_not_there_is_404(server: Server) -> None:
    assert server.page("metric", dag_id=BOARD, metric_name="<b>none").status == 404


def test_anomalies_are_listed_in_pages_with_thumbs_for_who_may_edit(server: Server) -> None:
    first = server.page("anomalies", "ute", dag_id=BOARD)
    assert len(first.headings()) == 20
    assert first.text.count("data-verdict=") == 40
    assert "page 1 of 3" in first.text
    seen = [server.page("anomalies", "ute", dag_id=BOARD, page=page).headings() for page in (1, 2, 3)]
    assert sum(map(len, seen)) >= 46
    assert server.page("anomalies", "ute", dag_id=BOARD, page=99).headings() == seen[2]
    viewer = server.page("anomalies", "vera", dag_id=BOARD)
    assert (viewer.headings(), viewer.text.count("data-verdict=")) == (first.headings(), 0)
    found = server.page("anomalies", "ute", dag_id=BOARD, q="north")
    assert set(found.headings()) == {"Orders in the north"}
    assert "above expected" in found.text


def test_nothing_is_loaded_from_elsewhere(server: Server) -> None:
    page = server.page("batch", dag_id=BOARD)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'self'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.text
    assert "style=" not in page.text
    for name in ("style.css", "page.js"):
        static = server.page(name)
        assert static.status == 200
        assert "http" not in static.text


def test_a_form_of_another_site_gives_no_verdict(server: Server) -> None:
    import urllib.error
    import urllib.request

    body = b'{"metric_name": "spiked", "bucket": "2024-02-20", "verdict": "real"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {"Cookie": f"_token={server.tokens['ute']}", "Content-Type": kind}
        request = urllib.request.Request(f"{server.url}/anomstack/feedback/{BOARD}", body, headers)
        with pytest.raises(urllib.error.HTTPError, match="415"):
            urllib.request.urlopen(request, timeout=60)


def test_the_server_loads_no_detector_and_no_plotting(server: Server) -> None:
    """What a page imports, in a process of its own: the server's own modules cannot be looked at from here."""
    code = (
        "import sys, anomstack_provider.ui.pages, anomstack_provider.ui.views, anomstack_provider.steps.dashboard;"
        "print(sorted({'pyod', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"

"""A person's way through the dashboard, in a real browser inside Airflow's own frame."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.ui.conftest import Server

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra test)")

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

# Nothing of the browser's own goes out.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def tab(server: Server) -> Iterator[sync_api.Page]:
    """A tab of a browser in which ``ute``, who may edit DAGs, has logged in to Airflow by its form."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(f"{server.url}/auth/login")
        page.fill("input[name=username]", "ute")
        page.fill("input[name=password]", "pw-ute")
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/auth/" not in url)
        yield page
        browser.close()


def test_from_airflows_page_to_a_row_in_the_table(server: Server, tab: sync_api.Page) -> None:
    problems: list[str] = []
    elsewhere: list[str] = []
    tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    tab.on("request", lambda request: None if server.url in request.url else elsewhere.append(request.url))
    tab.goto(f"{server.url}/plugin/anomstack")
    frame = tab.frame_locator("iframe")
    frame.get_by_role("link", name="board", exact=True).click()
    frame.locator(".panel").nth(23).wait_for()

    frame.get_by_label("Search").fill("north")
    frame.get_by_label("Window").fill("14d")
    frame.get_by_role("button", name="Show").click()
    frame.get_by_text("1 metric, last 14 days").wait_for()
    assert frame.locator(".panel svg[role=img]").count() == 1
    frame.get_by_role("link", name="Expand").click()
    frame.locator(".large svg[role=img]").wait_for()
    # Of the frame alone: the page around it stays, and would not load again.
    frame.locator("body").evaluate("() => history.back()")
    frame.get_by_text("1 metric, last 14 days").wait_for()

    frame.get_by_role("link", name="Anomalies").click()
    line = frame.locator(".line").filter(has_text="above expected").first
    assert "Orders in the north" in line.inner_text()
    thumb = line.get_by_role("button", name="Thumbs down")
    thumb.click()
    line.get_by_text("false alarm").wait_for()
    assert thumb.get_attribute("aria-pressed") == "true"
    rows = server.board.read(["thumbsdown"], since=None, until=datetime(2100, 1, 1, tzinfo=UTC))
    assert set(rows["metric_name"]) == {"spiked"}
    assert rows["metadata"].str.contains('"by": "ute"').all()

    # It is there for whoever looks next.
    tab.goto(f"{server.url}/plugin/anomstack")
    frame.get_by_role("link", name="board", exact=True).click()
    frame.get_by_role("link", name="Anomalies").click()
    kept = frame.locator(".line").filter(has_text="above expected").first
    assert kept.get_by_role("button", name="Thumbs down").get_attribute("aria-pressed") == "true"
    assert (problems, elsewhere) == ([], [])


def test_a_dag_has_the_batch_in_a_tab_of_its_own(server: Server, tab: sync_api.Page) -> None:
    tab.goto(f"{server.url}/dags/anomstack_board/plugin/anomstack-batch")
    tab.frame_locator("iframe").get_by_role("heading", name="board", exact=True).wait_for()

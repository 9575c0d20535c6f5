"""
Draw docs/images/dashboard.png: the tab of the example ``dimensions`` in Airflow's own frame.

    python -m scripts.dashboard_picture

Needs Chromium and playwright (the extra ``test``). An API server on a home of its own shows what the steps stored of
the example's made-up orders; nothing is scheduled and nothing leaves the machine.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TARGET = REPOSITORY / "docs" / "images" / "dashboard.png"
BATCH = "dimensions"
START, END = datetime(2026, 1, 25, tzinfo=UTC), datetime(2026, 4, 25, tzinfo=UTC)  # the page shows 90 days
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def settings(home: Path, port: int) -> dict[str, str]:
    """Return the environment of an Airflow on ``home`` that everybody may use and that has the example alone."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__ANOMSTACK__METRICS_DIR": str(home / "metrics"),
        # The data end in April 2026, whenever the picture is made.
        f"ANOMSTACK__{BATCH.upper()}__DASHBOARD_STALE_METRIC_MAX_DAYS_AGO": "100000",
    }


def prepare(home: Path) -> None:
    """Copy the example, run its steps once over the days that are shown, and tell Airflow of its DAG."""
    (home / "dags").mkdir()
    shutil.copy(REPOSITORY / "example_dags" / "anomstack_dags.py", home / "dags")
    examples = home / "metrics" / "examples"
    shutil.copytree(REPOSITORY / "metrics" / "examples" / BATCH, examples / BATCH)
    shutil.copy(REPOSITORY / "metrics" / "examples" / "made_up.sql", examples)
    for command in (["db", "migrate"], ["dags", "reserialize"]):
        subprocess.run([sys.executable, "-m", "airflow", *command], check=True, stdout=subprocess.DEVNULL)

    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps.alert import alert
    from anomstack_provider.steps.ingest import ingest
    from anomstack_provider.steps.score import score
    from anomstack_provider.wiring.batches import load_spec, open_stores
    from anomstack_provider.wiring.fetch import fetch_outside_airflow

    spec, window = load_spec(BATCH, str(home / "metrics")), RunWindow(START, END)
    stores = open_stores(spec)
    stores.metrics.ensure_table()
    ingest(spec, window, stores.metrics, lambda part: fetch_outside_airflow(spec, part, str(home / "metrics")))
    score(spec, window, stores.metrics, stores.models)
    alert(spec, window, stores.metrics, stores.models)


@contextmanager
def serving(home: Path, port: int) -> Iterator[str]:
    """Run the API server; yields its address once it answers."""
    url = f"http://127.0.0.1:{port}"
    with (home / "api-server.log").open("wb") as log:
        command = [sys.executable, "-m", "airflow", "api-server"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{url}/api/v2/version", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit((home / "api-server.log").read_text(errors="replace")[-2000:])
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def draw(url: str) -> bytes:
    """Return the picture of the batch's tab."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=found, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 700}, color_scheme="light")
        page.set_default_timeout(60_000)
        page.goto(f"{url}/dags/anomstack_{BATCH}/plugin/anomstack-batch")
        page.frame_locator("iframe").locator(".panel svg").first.wait_for()
        # The fold of Airflow's own boxes around the frame.
        page.wait_for_timeout(3000)
        png = page.screenshot()
        browser.close()
    return png


def main() -> int:
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        home, port = Path(folder), int(probe.getsockname()[1])
        probe.close()
        os.environ.update(settings(home, port))
        prepare(home)
        with serving(home, port) as url:
            png = draw(url)
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(TARGET, "PNG", optimize=True)
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

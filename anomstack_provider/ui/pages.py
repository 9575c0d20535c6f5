"""
The dashboard's pages, under ``/anomstack/ui``: server-rendered, shown by Airflow in a frame.

A page is for whoever may read the DAG of its batch, verdicts for whoever may edit it. What is shown is computed in
``steps.dashboard``, drawn in ``svg`` and worded in ``views``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.providers.common.compat.sdk import redact
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse

from anomstack_provider.steps.period import Period, PeriodRefused
from anomstack_provider.ui.dag_batch import NoBatch, NoDag, batch_of_dag, listed
from anomstack_provider.ui.rendering import STATIC, rendered
from anomstack_provider.wiring.batches import open_metrics

if TYPE_CHECKING:
    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.steps.dashboard import Board

log = logging.getLogger(__name__)

pages = APIRouter(prefix="/ui", include_in_schema=False)

HOME_WINDOW, BATCH_WINDOW = "7d", "90n"
METRICS_AT_ONCE, MOST_METRICS, ANOMALIES_AT_ONCE = 24, 480, 20
# Seconds that one page waits for databases that others have locked, all its batches together.
_PATIENCE = 5.0
_SHOWN_REASON = 400

DagId = Annotated[str, Query(max_length=250)]
Window = Annotated[str, Query(max_length=40)]
Words = Annotated[str, Query(max_length=1000)]
READS = [Depends(requires_access_dag("GET"))]


@pages.get("/")
def home(user: GetUserDep, window: Window = HOME_WINDOW) -> HTMLResponse:
    """Show a card per batch that the user may read, those with the most alerts first."""
    from anomstack_provider.ui.views import Card

    period, refused = _period(window, HOME_WINDOW)
    deadline = time.monotonic() + _PATIENCE
    readable = listed(get_auth_manager().get_authorized_dag_ids(user=user))
    found = [_Batch.read(dag_id, period, deadline) for dag_id in readable]
    shown = [each for each in found if each.spec is None or not _is_off(each.spec)]
    cards = sorted((Card.of(each.dag_id, each.spec, each.board, each.problem) for each in shown), key=Card.rank)
    return rendered("home.html", 400 if refused else 200, cards=cards, period=period, refused=refused)


@pages.get("/batch", dependencies=READS)
def batch(
    dag_id: DagId,
    window: Window = BATCH_WINDOW,
    q: Words = "",
    shown: Annotated[int, Query(ge=1, le=MOST_METRICS)] = METRICS_AT_ONCE,
    stale: bool = False,
) -> HTMLResponse:
    """Show a chart per metric of a batch, those with the highest rate of anomalies first."""
    from anomstack_provider.ui.views import Panel, found_metrics

    period, refused = _period(window, BATCH_WINDOW)
    read = _Batch.read(dag_id, period, with_stale=stale)
    metrics = [] if read.board is None else found_metrics(read.board, q)
    panels = [] if read.board is None else [Panel.of(read.board, metric) for metric in metrics[:shown]]
    more = min(shown + METRICS_AT_ONCE, MOST_METRICS) if len(metrics) > shown else None
    return read.page("batch.html", period, refused, q=q, panels=panels, found=len(metrics), more=more, stale=stale)


@pages.get("/metric", dependencies=READS)
def metric(dag_id: DagId, metric_name: Words, window: Window = BATCH_WINDOW) -> HTMLResponse:
    """Show one metric's chart, large, whether or not it is stale."""
    from anomstack_provider.ui.views import Panel, of_metric

    period, refused = _period(window, BATCH_WINDOW)
    read = _Batch.read(dag_id, period, with_stale=True)
    watched = None if read.board is None else of_metric(read.board, metric_name)
    panel = None if read.board is None or watched is None else Panel.of(read.board, watched, is_large=True)
    return read.page("metric.html", period, refused, status=200 if panel else 404, panel=panel, metric_name=metric_name)


@pages.get("/anomalies", dependencies=READS)
def anomalies(
    request: Request,
    user: GetUserDep,
    dag_id: DagId,
    window: Window = BATCH_WINDOW,
    q: Words = "",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> HTMLResponse:
    """List the anomalies of a batch, newest first, to be judged by whoever may edit its DAG."""
    from anomstack_provider.ui.views import Line, found_anomalies

    period, refused = _period(window, BATCH_WINDOW)
    read = _Batch.read(dag_id, period)
    found = [] if read.board is None else found_anomalies(read.board, q)
    last = max(-(-len(found) // ANOMALIES_AT_ONCE), 1)
    page = min(page, last)
    mine = found[(page - 1) * ANOMALIES_AT_ONCE : page * ANOMALIES_AT_ONCE]
    lines: Sequence[Any] = [] if read.board is None else [Line.of(read.board, each) for each in mine]
    more: dict[str, Any] = {"page": page, "last": last, "may_judge": _may_edit(request, user), "found": len(found)}
    return read.page("anomalies.html", period, refused, q=q, lines=lines, **more)


@pages.get("/style.css")
@pages.get("/page.js")
def static(request: Request) -> FileResponse:
    """Give a file that every page needs; there is nothing of anyone in it."""
    return FileResponse(STATIC / request.url.path.rpartition("/")[2], headers={"Cache-Control": "max-age=3600"})


@dataclass(frozen=True)
class _Batch:
    """A DAG's batch as far as it can be read: without a ``board`` there is a ``problem`` and its ``status``."""

    dag_id: str
    spec: BatchSpec | None = None
    board: Board | None = None
    problem: str = ""
    status: int = 200

    @classmethod
    def read(cls, dag_id: str, period: Period, deadline: float | None = None, *, with_stale: bool = False) -> _Batch:
        """Read a batch; what goes wrong with it, whatever a driver raises, is told in its place."""
        from anomstack_provider.steps import dashboard

        spec = None
        try:
            spec = batch_of_dag(dag_id)
            if _is_off(spec):
                return cls(dag_id, spec, problem="This batch is left out of the dashboard.", status=404)
            wait = _PATIENCE if deadline is None else max(deadline - time.monotonic(), 0.1)
            store = open_metrics(spec, lock_wait=wait)
            return cls(dag_id, spec, dashboard.read(spec, store, period, datetime.now(UTC), with_stale=with_stale))
        except NoDag as error:
            return cls(dag_id, problem=str(error), status=404)
        except NoBatch as error:
            return cls(dag_id, problem=str(error), status=409)
        except Exception as error:
            log.warning("dashboard: DAG %s: its batch cannot be shown", dag_id, exc_info=True)
            reason = str(redact(f"{error}")) or type(error).__name__
            cut = reason if len(reason) <= _SHOWN_REASON else f"{reason[:_SHOWN_REASON]}…"
            return cls(dag_id, spec, problem=cut, status=503)

    def page(self, template: str, period: Period, refused: str, *, status: int = 200, **names: Any) -> HTMLResponse:
        """Return a page of the batch, or why there is none."""
        name = self.dag_id if self.spec is None else self.spec.metric_batch
        code = self.status if self.board is None else 400 if refused else status
        given: dict[str, Any] = {"dag_id": self.dag_id, "name": name, "board": self.board}
        given |= {"problem": self.problem, "is_temporary": self.status == 503}
        return rendered(template, code, **given, period=period, refused=refused, **names)


def _is_off(spec: BatchSpec) -> bool:
    return spec.disable_dashboard or spec.disable_batch


def _period(window: str, usual: str) -> tuple[Period, str]:
    """Return the period that was asked for, or the usual one and why."""
    try:
        return Period.parse(window or usual), ""
    except PeriodRefused as error:
        return Period.parse(usual), str(error)


def _may_edit(request: Request, user: Any) -> bool:
    """Ask what the API asks of whoever gives a verdict."""
    try:
        requires_access_dag("PUT")(request, user)
    except HTTPException:
        return False
    return True

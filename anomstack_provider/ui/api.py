"""
The REST API that the plugin adds to Airflow's API server, under ``/anomstack``, beside the dashboard's ``pages``.

Airflow authenticates nothing here by itself: every route depends on access to the DAG that it names. To judge an
anomaly is to edit the DAG of its batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.providers.common.compat.sdk import AirflowException
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from anomstack_provider.config.errors import ConfigError
from anomstack_provider.config.values import as_utc
from anomstack_provider.store.errors import StoreError
from anomstack_provider.ui.dag_batch import NoBatch, NoDag, batch_of_dag
from anomstack_provider.ui.pages import pages
from anomstack_provider.wiring.batches import BatchNotFound, open_stores

if TYPE_CHECKING:
    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.store.metric_store import MetricStore

# Without FastAPI's own pages: they load scripts from elsewhere. The schema is at /anomstack/openapi.json.
app = FastAPI(
    title="Anomstack",
    description="Feedback on the anomalies of metric batches",
    version="1",
    docs_url=None,
    redoc_url=None,
)
app.include_router(pages)


class Feedback(BaseModel):
    """
    What someone says of a bucket.

    ``bucket`` and ``until`` without an offset are in the batch's time zone; ``event_id`` extends it to all buckets of
    that event; ``until`` is the end of a snooze.
    """

    model_config = ConfigDict(extra="forbid")

    metric_name: str = Field(max_length=1000)
    bucket: datetime
    verdict: Literal["real", "false_alarm", "expected", "new_normal", "snooze"]
    note: str = Field(default="", max_length=2000)
    until: datetime | None = None
    event_id: str | None = Field(default=None, max_length=100)


class Given(BaseModel):
    """What was stored."""

    metric_name: str
    verdict: str
    buckets: list[datetime]
    given_at: datetime
    by: str | None


def _is_json(request: Request) -> None:
    """
    Refuse a body that does not say that it is JSON.

    A browser sends such a one to another site only after that site has agreed to it, which Airflow does not: so no page
    from elsewhere can give a verdict in the name of whoever is logged in.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the body has to be of the type application/json")


@app.post("/feedback/{dag_id}", status_code=201, dependencies=[Depends(requires_access_dag("PUT")), Depends(_is_json)])
def give_feedback(dag_id: str, feedback: Feedback, user: GetUserDep) -> Given:
    """Store what was said of a bucket of the DAG's batch, in the place of what was said of it before."""
    from anomstack_provider.steps.feedback import give

    now = datetime.now(UTC)
    with _batch(dag_id) as (spec, store):
        given = give(
            spec,
            store,
            feedback.metric_name,
            as_utc(feedback.bucket, spec.timezone),
            feedback.verdict,
            given_at=now,
            by=user.get_name(),
            note=feedback.note,
            until=None if feedback.until is None else as_utc(feedback.until, spec.timezone),
            event_id=feedback.event_id,
        )
    buckets = [verdict.bucket for verdict in given]
    return Given(
        metric_name=feedback.metric_name, verdict=feedback.verdict, buckets=buckets, given_at=now, by=given[0].by
    )


@app.get("/feedback/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def list_feedback(dag_id: str) -> dict[str, Any]:
    """Return what holds of the DAG's batch, and per metric how many of the alerts that were judged were real."""
    from anomstack_provider.steps.feedback import read, to_json

    with _batch(dag_id) as (_, store):
        return to_json(read(store), datetime.now(UTC))


@contextmanager
def _batch(dag_id: str) -> Iterator[tuple[BatchSpec, MetricStore]]:
    """Give the DAG's batch and its rows; what goes wrong with them becomes an answer that says so."""
    from anomstack_provider.steps.feedback import FeedbackRefused, NothingThere

    try:
        spec = batch_of_dag(dag_id)
        yield spec, open_stores(spec).metrics
    except (NoDag, NothingThere) as error:
        raise HTTPException(404, str(error)) from error
    except NoBatch as error:
        raise HTTPException(409, str(error)) from error
    except FeedbackRefused as error:
        raise HTTPException(422, str(error)) from error
    except (BatchNotFound, ConfigError, OSError, StoreError, AirflowException) as error:
        raise HTTPException(503, f"the API server cannot reach the batch of DAG {dag_id!r}: {error}") from error
    except ValueError as error:  # a time outside the calendar
        raise HTTPException(422, str(error)) from error


@app.exception_handler(RequestValidationError)
def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong with a request without repeating it: it may hold what no answer can."""
    problems = [{"loc": list(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors()]
    return JSONResponse({"detail": problems}, 422)

"""Ingest the metrics of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from anomstack_provider.assets import metrics_alias
from anomstack_provider.config.errors import TemplateError
from anomstack_provider.operators.base import AnomstackOperator, StepSummary
from anomstack_provider.operators.outlets import batch_name, emit_update
from anomstack_provider.wiring import settings
from anomstack_provider.wiring.templates import template_context

if TYPE_CHECKING:
    import jinja2
    import pandas as pd
    from airflow.sdk import Context

    from anomstack_provider.runtime.window import RunWindow


class AnomstackIngestOperator(AnomstackOperator):
    """
    Run a batch's query or function for the run's window and store the rows, in the place of those with the same keys.

    The query is a template over Airflow's context, the batch's keys and the window (``data_interval_start``,
    ``data_interval_end``, ``as_of``; UTC). Rows that cannot be stored are refused by name, the others are stored, and
    the task fails at the end.

    Rows that were written update the batch's asset :func:`~anomstack_provider.assets.metrics_updated`.

    :param sql: the query, so that the UI shows it rendered; the batch's ``ingest_sql`` if None.
    """

    template_fields: Sequence[str] = (*AnomstackOperator.template_fields, "sql")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}

    def __init__(self, *, sql: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sql = sql if sql is not None else (self.config or {}).get("ingest_sql")
        # As written: with a history the query is rendered once more for every part of it.
        self._template = self.sql
        if (name := batch_name(self.metric_batch, self.config)) is not None:
            self.add_outlets([metrics_alias(name)])

    def get_template_env(self, dag: Any = None) -> jinja2.Environment:
        """Return the DAG's template environment, which also finds includes below the metrics folder."""
        import jinja2

        env = super().get_template_env(dag)
        if folder := self.metrics_dir or settings.metrics_dir():
            own = jinja2.FileSystemLoader(folder)
            env.loader = jinja2.ChoiceLoader([own, env.loader] if env.loader else [own])
        return env

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render the window's own fields, then the query for that window."""
        # Not the one that Airflow hands over: that is the DAG's own, which does not know the metrics folder.
        env = self.get_template_env()
        self.sql = None
        super().render_template_fields(context, env)
        names: Any = template_context(self.spec, self.window(context), context)
        self.sql = self._rendered("ingest_sql", self._query, names, env)

    def _rendered(self, key: str, text: str | None, names: Any, env: jinja2.Environment) -> Any:
        """Render a text; jinja2 names of a file that is not there nothing but its name."""
        import jinja2

        try:
            return self.render_template(text, names, env)
        except jinja2.TemplateNotFound as error:
            where = f"{self.spec.metric_batch}: {key}"
            raise TemplateError(
                f"{where}: include of '{error.name}' cannot be read; paths start at the metrics folder"
            ) from error

    @property
    def _query(self) -> str | None:
        return self._template if self._template is not None else self.spec.ingest_sql

    def execute(self, context: Context) -> StepSummary:
        """Ingest the run's window, and what is missing before it if the batch has a ``history_start``."""
        from anomstack_provider.steps.ingest import ingest
        from anomstack_provider.wiring.batches import open_metrics

        store = open_metrics(self.spec)
        store.ensure_table()
        window = self.window(context)
        result = ingest(self.spec, window, store, lambda part: self._fetch(part, context))
        summary = self.finish(context, result)
        emit_update(context, self.spec.metric_batch, window, result.rows)
        return summary

    def _fetch(self, window: RunWindow, context: Context) -> pd.DataFrame:
        from anomstack_provider.wiring.fetch import fetch_function, fetch_query

        names = template_context(self.spec, window, context)
        env = self.get_template_env()
        if self.spec.ingest_fn is not None:
            text = self._rendered("ingest_fn", self.spec.ingest_fn, names, env)
            return fetch_function(self.spec, text, names)
        return fetch_query(self.spec, self._rendered("ingest_sql", self._query, names, env))

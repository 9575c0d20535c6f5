"""Ask a language model about the metrics of a batch."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from anomstack_provider.operators.base import AnomstackOperator, StepSummary
from anomstack_provider.runtime.airflow_compat import AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    import pandas as pd
    from airflow.sdk import Context

    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps.llmalert import Means


class AnomstackLanguageModelOperator(AnomstackOperator):
    """
    Ask a language model about the newest buckets of each metric and store its answers for the alert task.

    Skipped, visibly, when no tick of ``llmalert_cron_schedule`` falls into the run's window. A bucket that has an
    answer is not asked about again. The XCom has the requests made and the tokens spent.

    Not retried: alerts wait for this task, and the next run asks about the buckets that have no answer.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "retries": 0})

    def execute(self, context: Context) -> StepSummary:
        """Ask what is due."""
        from anomstack_provider.steps.llmalert import is_due, llmalert
        from anomstack_provider.wiring.batches import open_stores
        from anomstack_provider.wiring.language_model import LanguageModel, NoLanguageModel

        spec, window = self.spec, self.window(context)
        run: Any = context["dag_run"]
        if spec.llmalert_default_schedule_status == "STOPPED" and run.run_type != "manual":
            raise AirflowSkipException("llmalert_default_schedule_status is STOPPED: asks in runs started by hand only")
        if not is_due(spec, window):
            raise AirflowSkipException(
                f"not due: no tick of {spec.llmalert_cron_schedule!r} from {window.start} to {window.end}"
            )
        try:
            model = LanguageModel(spec)
        except NoLanguageModel as error:
            raise AirflowFailException(f"llmalert of batch {spec.metric_batch!r}: {error}") from error
        with model:
            result = llmalert(spec, window, open_stores(spec).metrics, self._means(model, window, context))
        return self.finish(context, result)

    def _means(self, model: Any, window: RunWindow, context: Context) -> Means:
        from anomstack_provider.messages.chart_series import draw_series
        from anomstack_provider.steps.llmalert import Means

        spec = self.spec
        return Means(
            model=model,
            seconds=time.monotonic,
            draw=lambda name, points, asked, grain: draw_series(
                name, points.times, points.values, asked, grain=grain, timezone=spec.timezone
            ),
            fetch=None if spec.override("llmalert_sql") is None else partial(self._fetch, window, context),
            write_prompt=None if spec.override("prompt_fn") is None else partial(self._write_prompt, window, context),
        )

    def _fetch(self, window: RunWindow, context: Context) -> pd.DataFrame:
        from anomstack_provider.wiring.fetch import fetch_stored

        return fetch_stored(self.spec, self._rendered("llmalert_sql", window, context))

    def _write_prompt(self, window: RunWindow, context: Context, frame: pd.DataFrame, recent_n: int) -> str:
        from anomstack_provider.runtime.user_function import UserFunctionError, call

        where = f"{self.spec.metric_batch}: prompt_fn"
        text = self._rendered("prompt_fn", window, context)
        prompt = call(text, "make_prompt", {"df": frame, "llmalert_recent_n": recent_n}, where=where)
        if not isinstance(prompt, str):
            raise UserFunctionError(f"{where}: make_prompt() returned {type(prompt).__name__}, not text")
        return prompt

    def _rendered(self, key: str, window: RunWindow, context: Context) -> str:
        from anomstack_provider.wiring.templates import render_key

        return render_key(self.spec, key, getattr(self.spec, key), window, context, self.metrics_dir)

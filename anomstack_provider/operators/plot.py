"""Draw the metrics of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anomstack_provider.operators.base import AnomstackOperator
from anomstack_provider.runtime.airflow_compat import AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context

    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps.plot import Plotted


class AnomstackPlotOperator(AnomstackOperator):
    """
    Draw the batch's metrics in one picture and keep it beside the models, in the place of the one before.

    Skipped, visibly, when no tick of ``plot_cron_schedule`` falls into the run's window, when there is nothing to draw,
    and when the picture that is there shows a later time: a backfill leaves the newest one.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the ``path`` of the picture, how many ``metrics`` it shows and how many are ``left_out``."""
        from anomstack_provider.artifacts.plots import load_plot, save_plot
        from anomstack_provider.steps import plot
        from anomstack_provider.wiring.batches import open_stores

        spec, window = self.spec, self.window(context)
        if not plot.due(spec, window):
            raise AirflowSkipException(
                f"not due: no tick of {spec.plot_cron_schedule!r} from {window.start} to {window.end}"
            )
        files = open_stores(spec).models.files
        newest = plot.drawn_as_of(load_plot(files, spec.metric_batch))
        if newest is not None and newest > window.as_of:
            raise AirflowSkipException(f"there is a picture as of {newest} already, this run is as of {window.as_of}")
        plotted = self._read(window, context)
        if not plotted.panels and not plotted.refused:
            raise AirflowSkipException(f"batch {spec.metric_batch!r} has nothing to draw yet")
        done: dict[str, Any] = {"metrics": len(plotted.panels), "left_out": plotted.left_out}
        if plotted.panels:
            done["path"] = save_plot(files, spec.metric_batch, plot.draw(spec, window.as_of, plotted))
            self.log.info("%s: %s metrics, %s left out", done["path"], done["metrics"], plotted.left_out)
        if plotted.refused:
            context["ti"].xcom_push("return_value", done)
            reasons = "\n".join(f"  {name}: {reason}" for name, reason in sorted(plotted.refused.items()))
            raise AirflowFailException(
                f"batch {spec.metric_batch!r}: {done['metrics']} drawn, these cannot be:\n{reasons}"
            )
        return done

    def _read(self, window: RunWindow, context: Context) -> Plotted:
        from anomstack_provider.steps import plot
        from anomstack_provider.wiring.batches import open_stores
        from anomstack_provider.wiring.fetch import fetch_stored
        from anomstack_provider.wiring.templates import render_key

        spec = self.spec
        text = spec.override("plot_sql")
        if text is None:
            return plot.read(spec, window.as_of, open_stores(spec).metrics)
        sql = render_key(spec, "plot_sql", text, window, context, self.metrics_dir)
        return plot.of_rows(spec, fetch_stored(spec, sql))

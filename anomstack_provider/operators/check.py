"""Ask once a day whether all that the batches of a folder need works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from anomstack_provider.runtime.airflow_compat import AirflowFailException
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.wiring.batches import load_folder, open_hook, open_metrics, open_source, open_stores
from anomstack_provider.wiring.connections import connection_problems

if TYPE_CHECKING:
    from airflow.sdk import Context

    from anomstack_provider.config.loaded import LoadedBatch
    from anomstack_provider.steps.check import Finding

# Name of a check, what it needs to have worked, what it shares with other batches ("" for nothing), how to ask.
_Check = tuple[str, str, str, "Callable[[], Iterable[Finding]]"]


class AnomstackCheckOperator(BaseOperator):
    """
    Check for real what the batches of a folder need, and fail if anything of it is broken.

    The database answers and the metrics table has its columns; the model store can be written to and read; the
    connections of channels exist; no delivery was refused or given up. Old data, models that are missing or of another
    config and keys without effect are warnings, and so is all of a batch that is to begin paused
    (``ingest_default_schedule_status: STOPPED``), which may wait to be set up. No batch keeps another from being
    checked.

    :param metrics_dir: the folder.
    :param cron: schedule of the DAG, for runs without an interval; in UTC.
    """

    ui_color = "#f2f2f2"

    def __init__(self, *, metrics_dir: str, cron: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metrics_dir = metrics_dir
        self.cron = cron

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the number of ``batches``, what is ``broken`` and ``warnings``, by batch; fail if any is broken."""
        from airflow.providers.common.compat.sdk import redact

        as_of = RunWindow.from_context(context, self.cron, "UTC").as_of
        batches = {n: b for n, b in load_folder(self.metrics_dir).batches.items() if not b.spec.disable_batch}
        connections: dict[str, bool] = {}
        works: dict[str, bool] = {}
        report: dict[str, Any] = {"batches": len(batches), "broken": {}, "warnings": {}}
        # Paused ones last: what they share with others is then said of those.
        for name, batch in sorted(batches.items(), key=lambda item: (_begins_paused(item[1]), item[0])):
            for finding in self._asked(_checks(batch, as_of, connections), works):
                # What a driver says may hold what it was called with, and goes into the XCom.
                text = str(redact(f"{finding.what}: {finding.text}"))
                is_broken = finding.is_broken and not _begins_paused(batch)
                report["broken" if is_broken else "warnings"].setdefault(name, []).append(text)
                (self.log.error if is_broken else self.log.warning)("%s: %s", name, text)
        if report["broken"]:
            context["ti"].xcom_push("return_value", report)
            lines = [f"{name}: {text}" for name, texts in report["broken"].items() for text in texts]
            raise AirflowFailException("\n".join(lines))
        return report

    def _asked(self, checks: Iterable[_Check], works: dict[str, bool]) -> Iterator[Finding]:
        """Yield what the checks of one batch find; one that an earlier batch has asked for is not asked for again."""
        from anomstack_provider.steps.check import Finding

        failed = set()
        for what, needs, shared, ask in checks:
            if needs in failed:
                continue
            if shared in works:
                failed |= set() if works[shared] else {what}
                continue
            try:
                yield from ask()
            except Exception as error:  # whatever a database, a store or someone's module raises, it does not work
                self.log.debug("%s", what, exc_info=True)
                failed.add(what)
                yield Finding(what, f"{type(error).__name__}: {error}")
            if shared:
                works[shared] = what not in failed


def _begins_paused(batch: LoadedBatch) -> bool:
    return batch.spec.ingest_default_schedule_status == "STOPPED"


def _checks(batch: LoadedBatch, as_of: datetime, connections: dict[str, bool]) -> Iterator[_Check]:
    """Yield the checks of one batch; what several batches share fails for the first of them only."""
    from anomstack_provider.artifacts.probe import probe
    from anomstack_provider.steps import check
    from anomstack_provider.store.ledger import DeliveryLedger
    from anomstack_provider.store.source import read_sql

    spec = batch.spec

    def answers() -> Iterable[check.Finding]:
        read_sql(open_hook(spec), "SELECT 1 AS one")
        return ()

    def source_answers() -> Iterable[check.Finding]:
        read_sql(open_source(spec), "SELECT 1 AS one")
        return ()

    def is_writable() -> Iterable[check.Finding]:
        probe(open_stores(spec).models.files)
        return ()

    def ledger() -> DeliveryLedger:
        return DeliveryLedger(open_hook(spec), spec.table_key, spec.metric_batch)

    def told(what: str, texts: Iterable[str], is_broken: bool) -> Iterable[check.Finding]:
        return (check.Finding(what, text, is_broken) for text in texts)

    yield "keys", "", "", lambda: told("keys", batch.warnings, False)
    yield "connections", "", "", lambda: told("connections", connection_problems(spec, connections), True)
    yield "database", "", f"database {spec.table_conn_id}", answers
    if spec.conn_id != spec.table_conn_id and spec.ingest_sql:
        yield "source", "", f"database {spec.conn_id}", source_answers
    yield "metrics table", "database", "", lambda: check.metrics_table(spec, as_of, open_metrics(spec))
    yield "deliveries", "database", "", lambda: check.deliveries(ledger())
    yield "model store", "", f"model store {spec.model_path}", is_writable
    yield "models", "model store", "", lambda: check.models(spec, as_of, open_stores(spec).models)

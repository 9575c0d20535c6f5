"""What loading gives: warnings with their places, one batch on demand, the view of templates."""

from __future__ import annotations

from typing import Any

import pytest

from anomstack_provider.config.errors import ConfigError


def test_a_warning_has_the_place_of_its_key(folder: Any):
    folder.write("defaults.yaml", "train_cron_schedule: '*/360 * * * *'\n")
    folder.batch("a.yaml", "a", schedule="'*/25 * * * *'")
    assert folder.load().batches["a"].warnings == (
        "a.yaml:3: schedule: '*/25 * * * *' is minutes 0, 25 and 50 to cron, and then 10 minutes later minute 0 again",
        "defaults.yaml:1: train_cron_schedule: '*/360 * * * *' is '0 * * * *' to cron: minute 0 "
        "only, not every 360 "
        "minutes; for every 6 hours write '0 */6 * * *'",
    )


def test_a_batch_without_surprises_has_no_warning(folder: Any):
    folder.batch("a.yaml", "a", schedule="'@daily'")
    assert folder.load().batches["a"].warnings == ()


def test_asking_for_a_batch(folder: Any):
    folder.batch("a.yaml", "sales")
    folder.batch("b.yaml", "broken", shards="x")
    loaded = folder.load()
    assert loaded.batch("sales").spec.metric_batch == "sales"
    with pytest.raises(ConfigError) as broken:
        loaded.batch("broken")
    assert str(broken.value) == "b.yaml:3: shards: expected a whole number, got 'x'"
    with pytest.raises(ConfigError) as missing:
        loaded.batch("sale")
    assert str(missing.value) == f"{folder.root}: no batch of this folder is named 'sale'; did you mean 'sales'?"


def test_the_context_of_templates_is_plain_and_as_written(folder: Any):
    folder.write(
        "a.yaml",
        "metric_batch: a\ningest_sql: select 1\nalert_methods: email,slack\nscore_exclude_metrics: "
        "[\"'x'\"]\n"
        "conn_id: ' '\ncompleteness_delay: 2h\ndisable_train: False\nstart_date: 2024-01-31\n",
    )
    context = folder.load({"ANOMSTACK__A__SHARDS": "3"}).batches["a"].spec.context()
    assert context["alert_methods"] == "email,slack"
    assert context["score_exclude_metrics"] == ["'x'"]
    assert context["completeness_delay"] == "2h"
    assert context["disable_train"] is False
    assert context["shards"] == 3
    assert context["table_key"] == "metrics"
    assert context["preprocess_params"] == {
        "diff_n": 1,
        "smooth_n": 3,
        "lags_n": 5,
        "freq": None,
        "freq_agg": "mean",
    }
    assert not {"train_exclude_metrics", "conn_id", "ingest_fn"} & set(context)

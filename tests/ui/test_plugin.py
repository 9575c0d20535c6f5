"""Loading the plugin loads nothing of the API, which comes with the first request."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from anomstack_provider.ui.plugin import AnomstackPlugin, rest_api


def test_loading_the_plugin_does_not_load_the_api() -> None:
    code = "import sys, anomstack_provider.ui.plugin; print('anomstack_provider.ui.api' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_an_api_that_cannot_be_imported_fails_its_requests_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anomstack_provider.ui.api", None)
    (app,) = AnomstackPlugin.fastapi_apps
    assert app["app"] is rest_api

    async def nothing(*message: Any) -> Any:
        raise AssertionError("not reached")

    with pytest.raises(ImportError):
        asyncio.run(rest_api({"type": "http"}, nothing, nothing))

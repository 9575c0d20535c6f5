"""The whole suite that holds all engines to the same promises, on warehouses; what is added there runs here too."""

from __future__ import annotations

from tests.store.test_conformance import *  # noqa: F403

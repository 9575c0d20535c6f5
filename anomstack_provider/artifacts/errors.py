"""What can go wrong with stored models, and who has to act on it.

``ModelRefused`` is normal life of a cache: train again, as of the same tick. The others stop the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anomstack_provider.artifacts.key import ModelKey


class ModelStoreError(Exception):
    """Base of the errors of this package."""


class ModelRefused(ModelStoreError):
    """
    There are stored models for this key, and they must not be used. Train again; saving replaces them.

    :param key: what was asked for.
    :param path: the manifest or object that was refused.
    :param reason: one sentence for a person.
    """

    def __init__(self, key: ModelKey, path: str, reason: str) -> None:
        super().__init__(key, path, reason)
        self.key = key
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"The models of {self.key} are refused: {self.path}: {self.reason}."


class UnsupportedModel(ModelStoreError, TypeError):
    """A model cannot be saved, because loading it would need code that is not on the allow-list."""


class ModelStoreUnavailable(ModelStoreError, OSError):
    """The store could not be reached, or does not let us in. Another try may succeed."""


class BadBundle(ValueError):
    """Not a bundle or a manifest, or not the one asked for; the message is the reason of a refusal."""

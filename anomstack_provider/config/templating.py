"""Render the Jinja of ``*_sql`` and ``*_fn`` values: includes from the metrics folder, nothing undefined.

The folder is the root of every include, as in Anomstack: ``{% include "./examples/x/x.sql" %}``. Templates
run in Jinja's sandbox: they compute text from the context they are given and reach nothing else.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    Environment,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
)
from jinja2.sandbox import SandboxedEnvironment

from anomstack_provider.config.errors import TemplateError
from anomstack_provider.config.explain import nearest
from anomstack_provider.config.folder import within

_INLINE = "<template>"


class Unset(Undefined):
    """
    A key that there is but that has no value: false, empty and not defined, as Anomstack's templates ask for it.

    To print it is an error, as for a name that nobody knows, and not an empty text in the middle of SQL.
    """

    __slots__ = ()
    __str__ = Undefined._fail_with_undefined_error


def unset(key: str) -> Unset:
    """Return what stands in templates for a key without a value."""
    return Unset(hint=f"'{key}' has no value in this batch", name=key)


class _FolderLoader(BaseLoader):
    """Templates below one folder; neither ``..`` nor a link leads out of it."""

    def __init__(self, metrics_dir: str | os.PathLike[str]) -> None:
        self._root = metrics_dir
        self.included: set[str] = set()

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        path = within(self._root, template)
        if path is None:
            raise TemplateNotFound(template, f"{template!r} is outside the metrics folder; includes stay within it")
        try:
            source = Path(path).read_text("utf-8")
        except UnicodeDecodeError:
            raise TemplateNotFound(template, f"{template!r} is not UTF-8 text; save it as UTF-8") from None
        except OSError as error:
            message = f"{template!r} cannot be read ({error.strerror}); paths start at the metrics folder"
            raise TemplateNotFound(template, message) from None
        self.included.add(template)
        return source, template, None


def environment(metrics_dir: str | os.PathLike[str]) -> Environment:
    """Return the Jinja environment whose includes start at ``metrics_dir``; what is undefined is an error."""
    return _environment(_FolderLoader(metrics_dir))


def render(text: str, context: Mapping[str, Any], metrics_dir: str | os.PathLike[str], *, where: str) -> str:
    """
    Return ``text`` with its Jinja rendered.

    :param context: the names that the template may use.
    :param where: file and key for messages, such as ``sales.yaml:7: ingest_sql``.
    :raises TemplateError: if it cannot be rendered, whatever the reason.
    """
    loader = _FolderLoader(metrics_dir)
    try:
        return _environment(loader).from_string(text).render(context)
    except TemplateSyntaxError as error:
        reason = f"{_place(error.name or _INLINE, error.lineno)}: {error.message}"
        raise TemplateError(f"{where}: {reason}") from error
    except TemplateNotFound as error:
        raise TemplateError(f"{where}: include of {error.message}") from error
    except UndefinedError as error:
        undefined = re.fullmatch(r"'(.+)' is undefined", str(error.message))
        hint = nearest(undefined[1], context) if undefined else ""
        raise TemplateError(f"{where}: {_place_of(error, loader)}: {error.message}{hint}") from error
    except RecursionError as error:
        raise TemplateError(f"{where}: a template includes itself without end") from error
    except Exception as error:
        # A template can call what it is given, and that can raise anything.
        raise TemplateError(f"{where}: {_place_of(error, loader)}: {type(error).__name__}: {error}") from error


def _environment(loader: _FolderLoader) -> Environment:
    return SandboxedEnvironment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)


def _place(template: str, line: int) -> str:
    return f"line {line} of the value" if template == _INLINE else f"{template}:{line}"


def _place_of(error: BaseException, loader: _FolderLoader) -> str:
    """Return the innermost template line in a traceback; Jinja puts its frames in template terms."""
    names = {_INLINE, *loader.included}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in names]
    return _place(frames[-1].filename, frames[-1].lineno or 1) if frames else "the value"

"""Where a ``model_path`` leads: a local folder, a store that Airflow's providers know, or any other one of fsspec."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from anomstack_provider.artifacts.errors import ModelStoreUnavailable

# Other names of what Airflow's providers know.
_ALIASES = {"az": "abfs", "local": "file"}


class Place:
    """
    A folder in some file system, of which nothing is asked before it is used.

    :param name: the place as its owner wrote it, for messages: with the connection, and without what is in it.
    :param url: the place for its file system: without the connection.
    :param connect: returns the file system.
    """

    def __init__(self, name: str, url: str, connect: Callable[[], Any]) -> None:
        self._name = name
        self._url = url
        self._connect = connect

    def __str__(self) -> str:
        return self._name

    @cached_property
    def fs(self) -> Any:
        """The file system; many of them connect only when they are asked for a file."""
        return self._connect()

    @cached_property
    def path(self) -> str:
        """The folder as its file system writes it."""
        return str(self.fs._strip_protocol(self._url))


def local_place(folder: Path) -> Place:
    """Return a local folder."""
    path = str(folder.absolute())
    return Place(path, path, LocalFileSystem)


def find_place(model_path: str, home: str) -> Place:
    """
    Return the place that ``model_path`` names.

    :param model_path: ``s3://conn_id@bucket/key`` or any other URL of Airflow's providers or fsspec;
        ``file://``, ``local://`` or a plain path for local files, relative to ``home`` unless it is absolute.
    :raises ModelStoreUnavailable: no such connection, or no support for this kind of URL installed.
    """
    scheme, separator, rest = model_path.partition("://")
    if not separator:
        scheme, rest = "file", model_path
    if not rest:
        raise ValueError(f"model_path names no place: {model_path!r}")
    scheme = _ALIASES.get(scheme, scheme)
    if scheme == "file":
        # normpath and not resolve: a link to another disk stays as the operator wrote it.
        rest = os.path.normpath(os.path.join(home, rest))
        return Place(f"file://{rest}", rest, LocalFileSystem)
    host, slash, key = rest.partition("/")
    conn_id, _, host = host.rpartition("@")
    url = f"{scheme}://{host}{slash}{key}".rstrip("/")
    try:
        return Place(model_path.rstrip("/"), url, _connector(scheme, url, conn_id or None))
    except Exception as error:  # Airflow's and fsspec's own types, for what is always a wrong setting
        raise ModelStoreUnavailable(
            f"Cannot open the model store {model_path}: {type(error).__name__}: {error}. "
            "Check the connection id and that support for this kind of store is installed."
        ) from error


def _connector(scheme: str, url: str, conn_id: str | None) -> Callable[[], Any]:
    from airflow.sdk import BaseHook
    from airflow.sdk.io import attach, has_fs
    from fsspec import get_filesystem_class

    # Asked for here because a hook that cannot find its connection may go on with whatever credentials the machine has.
    connection = BaseHook.get_connection(conn_id) if conn_id else None
    if has_fs(scheme):
        return lambda: attach(scheme, conn_id).fs  # the same one for the same connection
    kind: Any = get_filesystem_class(scheme)
    options = kind._get_kwargs_from_urls(url) | _options(connection)
    return lambda: kind(**options)


def _options(connection: Any) -> dict[str, Any]:
    """Return what a connection says as fsspec's file systems name it, its extra as it stands."""
    if connection is None:
        return {}
    named = {
        "host": connection.host,
        "port": connection.port,
        "username": connection.login,
        "password": connection.password,
    }
    return {name: value for name, value in named.items() if value} | dict(connection.extra_dejson)

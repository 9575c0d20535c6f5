"""Whether a store can be used at all: a small file is written, read back and removed."""

from __future__ import annotations

import uuid

from anomstack_provider.artifacts.errors import ModelStoreUnavailable
from anomstack_provider.artifacts.files import Files

# No batch has a folder of this name: see quote_batch.
_FOLDER = "~checks"


def probe(files: Files) -> None:
    """Raise ``ModelStoreUnavailable`` unless a file below the root can be written, read back and removed."""
    name = uuid.uuid4().hex
    path, data = f"{_FOLDER}/{name}.txt", name.encode()
    files.replace(path, data)
    found = files.read(path)
    files.remove(path)
    if found != data:
        raise ModelStoreUnavailable(f"{files.path(path)} does not read back as it was written.")

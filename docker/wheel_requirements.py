"""Print what a wheel requires, with the extras asked for, as a pip requirements file.

    python docker/wheel_requirements.py some.whl demo s3 > requirements.txt

Used by the Dockerfile, where installing the requirements is one image layer and installing the wheel
another. The list depends on the wheel's metadata only, so the first layer stays in the cache while nothing
but code changes.
"""

from __future__ import annotations

import sys
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement


def requirements(wheel: Path, extras: list[str]) -> list[str]:
    """Return the sorted requirement lines of `wheel` that apply to this Python and to any of `extras`.

    An extra that the wheel does not have is a ``ValueError``: a misspelt one would otherwise install nothing.
    """
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode("utf-8"))
    known = metadata.get_all("Provides-Extra", [])
    if unknown := sorted(set(extras) - set(known)):
        raise ValueError(f"{wheel.name} has no extra {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    lines = set()
    for text in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        marker, requirement.marker = requirement.marker, None
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ["", *extras]):
            lines.add(str(requirement))
    return sorted(lines)


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])))

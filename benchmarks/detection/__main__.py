"""``python -m benchmarks.detection``."""

import os

# Before numpy is imported: each process gets one thread, as CPU is measured.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from benchmarks.detection.run import main  # noqa: E402

main()

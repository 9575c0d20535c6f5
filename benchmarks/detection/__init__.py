"""A benchmark of detection on labelled series; see run.py."""

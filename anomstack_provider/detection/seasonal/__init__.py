"""The seasonal recipe: what a metric's calendar slot and level let expect, and how seldom a deviation is that large."""

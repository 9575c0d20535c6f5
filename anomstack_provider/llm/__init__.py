"""What a language model is asked about a metric, and what of its answer is believed. Text and numbers only."""

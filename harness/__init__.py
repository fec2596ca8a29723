"""Vocabulary of a benchmark of (few-shot) logical anomaly detection, and one single trial of it."""

__version__ = "0.1.0"

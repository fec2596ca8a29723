"""CLIP-LAD (training-free few-shot logical anomaly detection); see README.md beside this file."""

from methods.clip_lad.method import ClipLad

__all__ = ["ClipLad"]

"""PSAD: part segmentation, three memory banks, adaptive scaling."""

from methods.psad.method import PSAD

__all__ = ["PSAD"]

"""DRAEM: reconstruct what a texture has spoiled, and mark where."""

from methods.draem.method import DRAEM

__all__ = ["DRAEM"]

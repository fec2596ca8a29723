"""EfficientAD (Batzner et al., WACV 2024) and EfficientAD-DFSC; see README.md beside this file."""

from methods.efficientad.method import EfficientAD, EfficientADDFSC

__all__ = ["EfficientAD", "EfficientADDFSC"]

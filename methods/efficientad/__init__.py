"""EfficientAD (Batzner et al., WACV 2024), EfficientAD-DFSC, and PUAD on both; see README.md."""

from methods.efficientad.method import EfficientAD, EfficientADDFSC
from methods.efficientad.puad import PUAD, PUADDFSC

__all__ = ["PUAD", "PUADDFSC", "EfficientAD", "EfficientADDFSC"]

"""GCAD (Bergmann et al., IJCV 2022), our reading; see README.md beside this file."""

from methods.gcad.method import GCAD

__all__ = ["GCAD"]

"""ComAD (Liu et al., 2023); see README.md beside this file."""

from methods.comad.method import ComAD

__all__ = ["ComAD"]

"""PatchCore (Roth et al., CVPR 2022); see README.md beside this file."""

from methods.patchcore.method import PatchCore

__all__ = ["PatchCore"]

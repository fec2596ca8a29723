"""SubspaceAD (Lendering et al., CVPR 2026); see README.md beside this file."""

from methods.subspace_ad.method import SubspaceAD

__all__ = ["SubspaceAD"]

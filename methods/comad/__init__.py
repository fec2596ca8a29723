"""ComAD (Liu et al., 2023), alone and with PatchCore; see README.md beside this file."""

from methods.comad.method import ComAD
from methods.comad.with_patchcore import ComADPatchCore

__all__ = ["ComAD", "ComADPatchCore"]

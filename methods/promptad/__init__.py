"""PromptAD (Li et al., CVPR 2024); see README.md beside this file."""

from methods.promptad.method import PromptAD

__all__ = ["PromptAD"]

"""WinCLIP (Jeong et al., CVPR 2023); see README.md beside this file."""

from methods.winclip.method import WinClip

__all__ = ["WinClip"]

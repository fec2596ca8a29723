"""ST, Uninformed Students (Bergmann et al., CVPR 2020); see README.md beside this file."""

from methods.st.method import ST

__all__ = ["ST"]

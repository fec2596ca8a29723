"""STFPM, student-teacher feature pyramid matching (Wang et al., BMVC 2021); see README.md beside."""

from methods.stfpm.method import STFPM

__all__ = ["STFPM"]

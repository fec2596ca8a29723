"""SPADE (Cohen and Hoshen, 2020); see README.md beside this file."""

from methods.spade.method import SPADE

__all__ = ["SPADE"]

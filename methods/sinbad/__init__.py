"""SINBAD (Cohen, Tzachor, Hoshen, 2023); see README.md beside this file."""

from methods.sinbad.method import SINBAD

__all__ = ["SINBAD"]

"""PaDiM (Defard et al., ICPR 2020 workshops); see README.md beside this file."""

from methods.padim.method import PaDiM

__all__ = ["PaDiM"]

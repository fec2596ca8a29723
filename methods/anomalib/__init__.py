"""Any model of anomalib as a contestant; see README.md beside this file."""

from methods.anomalib.method import Anomalib

__all__ = ["Anomalib"]

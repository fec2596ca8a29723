"""Samples, images and splits: what flows from a data set into a method."""

from harness.data.images import FitData, ImageSet, decode, image_files, image_size
from harness.data.samples import GOOD, LOGICAL, STRUCTURAL, DefectType, Sample, Split

__all__ = [
    "GOOD",
    "LOGICAL",
    "STRUCTURAL",
    "DefectType",
    "FitData",
    "ImageSet",
    "Sample",
    "Split",
    "decode",
    "image_files",
    "image_size",
]

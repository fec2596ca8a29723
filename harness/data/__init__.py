"""Samples, images and splits: what flows from a data set into a method."""

from harness.data.images import FitData, ImageSet, decode, image_files, image_size
from harness.data.rule import PLAIN, PixelRule
from harness.data.samples import GOOD, LOGICAL, STRUCTURAL, UNLABELLED, DefectType, Sample, Split

__all__ = [
    "GOOD",
    "LOGICAL",
    "PLAIN",
    "STRUCTURAL",
    "UNLABELLED",
    "DefectType",
    "FitData",
    "ImageSet",
    "PixelRule",
    "Sample",
    "Split",
    "decode",
    "image_files",
    "image_size",
]

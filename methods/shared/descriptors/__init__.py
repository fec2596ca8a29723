"""Patch descriptors of a field of view, their files of weights, and how they are distilled."""

"""Protocols by name: what a number was measured under, as data.

One YAML file each, with its source: categories, shots, seeds, draw, validation images, input, metrics and how
they become one number. `said` names the place of the source for every key, `unknown` what the source leaves
open and what is taken. A sweep file names one (`protocol:`), several (`protocols:`) or two whose difference
is taken apart (`why:`), and may override every key, which then stands beside the name wherever it is printed.
"""

from harness.protocols.preset import Preset, names, preset, unknown

__all__ = ["Preset", "names", "preset", "unknown"]

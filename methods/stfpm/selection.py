"""Which epoch's student is kept: the last, or the one that comes closest on images held out."""

import math
from copy import deepcopy
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from methods.stfpm.student import Student

Select = Literal["last", "val", "train20"]
HELD_OUT = 0.2


def held_out(number: int) -> list[int]:
    """Places of a fifth of `number` images, rounded up as scikit-learn does; the same for every seed."""
    chosen = np.random.default_rng(0).permutation(number)[: math.ceil(HELD_OUT * number)]
    return sorted(chosen.tolist())


@final
class Best(nn.Module):
    """The student with the least value so far.

    Args:
        student: as it is before the first step.
    """

    least: Tensor

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.kept = deepcopy(student)
        self.register_buffer("least", torch.tensor(float("inf")))

    def look(self, student: Student, value: Tensor) -> None:
        """Take a student's weights if its value is less than any before."""
        if value < self.least:
            self.least.copy_(value)
            self.kept.load_state_dict(student.state_dict())

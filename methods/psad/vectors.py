"""A memory bank with one vector per image, M_hist or M_comp, and its scores."""

from dataclasses import dataclass, replace
from typing import Literal, Self, final

import numpy as np

from methods.psad.banks import EPSILON, Distance, Floats, Standard, image_distances
from methods.psad.scaling import Reference, reference_scores

FlatDims = Literal["units", "repo_epsilon"]


@final
@dataclass(frozen=True)
class VectorBank:
    """The vectors of the training images.

    Attributes:
        rows: (n, d), standardised if asked for.
        standard: what standardises, or None.
        distance: Eq. 3 with or without its square.
    """

    rows: Floats
    standard: Standard | None
    distance: Distance

    @classmethod
    def of(cls, train: Floats, standardize: bool, flat_dims: FlatDims, distance: Distance) -> Self:
        """Of the vectors (n, d) of the training images.

        Args:
            train: the vectors.
            standardize: z-scores in every dimension.
            flat_dims: a dimension in which no training image differs (a part that none of them has) keeps
                its units; or is divided by 1e-10 as in the released code, whereupon a single pixel
                outweighs all else.
            distance: Eq. 3 with or without its square.
        """
        standard = Standard.of(train) if standardize else None
        if standard and flat_dims == "units":
            flat = standard.scale <= 2 * EPSILON
            standard = replace(standard, scale=np.where(flat, 1.0, standard.scale))
        return cls(standard(train) if standard else train, standard, distance)

    def distances(self, vectors: Floats) -> Floats:
        """To every training image, (m, n); the score is the smallest."""
        queries = self.standard(vectors) if self.standard else vectors
        return image_distances(queries, self.rows, self.distance)

    def reference(self, as_reference: Reference) -> Floats:
        """S_train, (n,), see `scaling.reference_scores`."""
        return reference_scores(image_distances(self.rows, self.rows, self.distance), as_reference)

"""A memory bank with one vector per image, M_hist or M_comp, and its scores."""

from dataclasses import dataclass
from typing import Self, final

from methods.psad.banks import Distance, Floats, Standard, image_distances
from methods.psad.scaling import Reference, reference_scores


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
    def of(cls, train: Floats, standardize: bool, distance: Distance) -> Self:
        """Of the vectors (n, d) of the training images."""
        standard = Standard.of(train) if standardize else None
        return cls(standard(train) if standard else train, standard, distance)

    def distances(self, vectors: Floats) -> Floats:
        """To every training image, (m, n); the score is the smallest."""
        queries = self.standard(vectors) if self.standard else vectors
        return image_distances(queries, self.rows, self.distance)

    def reference(self, as_reference: Reference) -> Floats:
        """S_train, (n,), see `scaling.reference_scores`."""
        return reference_scores(image_distances(self.rows, self.rows, self.distance), as_reference)

"""Whose work something is: as people cite it, and as generated files print it."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Citation:
    """One reference.

    Attributes:
        authors: as printed, family names with commas between.
        title: of the work.
        venue: where and when, "CVPR 2022" or "arXiv:2407.17909, 2024".
        url: where it can be read.
    """

    authors: str
    title: str
    venue: str
    url: str = ""

    def __str__(self) -> str:
        return f"{self.authors}: {self.title}. {self.venue}"

    @property
    def markdown(self) -> str:
        """The same with the title in italics."""
        return f"{self.authors}: *{self.title}*. {self.venue}"

    @property
    def link(self) -> str:
        """Where and when, as a link where there is one."""
        return f"[{self.venue}]({self.url})" if self.url else self.venue

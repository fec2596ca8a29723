"""How values of a metric are printed, and which of two is the better one.

A run keeps this for each of its metrics (`sweep.json`), so that whoever reads it later prints and compares
its numbers rightly without the code that made them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, final

PERCENT = "%"
_TYPES = {"title": str, "unit": str, "decimals": int, "higher_is_better": bool}


@final
@dataclass(frozen=True)
class Scale:
    """What is known of a metric's values.

    Attributes:
        title: name as printed.
        unit: "%" of fractions, which are printed times 100; of plain numbers their unit ("s", "px"), "" for
            none.
        decimals: digits behind the point, as printed.
        higher_is_better: direction; None where nobody has said.
    """

    title: str
    unit: str = PERCENT
    decimals: int = 1
    higher_is_better: bool | None = True

    @property
    def factor(self) -> int:
        """From a value to the number that is printed."""
        return 100 if self.unit == PERCENT else 1

    def text(self, value: float, sign: str = "", more: int = 0) -> str:
        """A value as printed, without its unit.

        >>> Scale("AUROC").text(0.98765), Scale("Delay", "s", 2).text(0.98765)
        ('98.8', '0.99')

        Args:
            value: as metrics give it.
            sign: "+" for a sign before positive numbers too.
            more: digits beyond the usual ones.
        """
        digits = self.decimals + more
        # Adding 0 turns the -0 that rounding makes into 0.
        return f"{round(float(self.factor * value), digits) + 0.0:{sign}.{digits}f}"

    @property
    def label(self) -> str:
        """Title and unit, as an axis of a figure names them."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def words(self) -> str:
        """The unit as the beginning of a sentence on a table."""
        if self.unit == PERCENT:
            return "Percent"
        return f"In {self.unit}" if self.unit else "Plain numbers"

    @property
    def direction(self) -> str:
        """What has to be said of the direction; nothing of the usual one."""
        if self.higher_is_better is None:
            return "Whether higher or lower is better is not known here: no number is marked as best."
        return "" if self.higher_is_better else "Lower is better."

    def record(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    @classmethod
    def recorded(cls, name: str, entry: Any) -> Self:
        """What `record` gave; an unknown scale, under the metric's own name, if it is not that."""
        if isinstance(entry, Mapping) and all(type(entry.get(k)) is kind for k, kind in _TYPES.items()):
            return cls(**{k: entry[k] for k in _TYPES})
        return cls(name, "", 3, None)

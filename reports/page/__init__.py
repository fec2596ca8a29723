"""What the page can be searched for, as compact JSON: every trial, and how methods rank the test images."""

from typing import Any

from reports.frame.load import Frame
from reports.page.images import images
from reports.page.trials import trials


def page_data(frame: Frame) -> dict[str, Any]:
    """Everything that the script of the page shows on demand."""
    return {"trials": trials(frame), "images": images(frame)}

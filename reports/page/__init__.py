"""What the page shows on demand, as compact JSON: boards, every trial, and how methods rank the images."""

from typing import Any

from reports.frame.load import Frame
from reports.page.boards import board_data
from reports.page.images import images
from reports.page.trials import trials
from reports.pages.subpage import page_files


def page_data(frame: Frame) -> dict[str, Any]:
    """Everything that the script of the page shows on demand."""
    pages = page_files(frame)
    return {"trials": trials(frame), "images": images(frame), "boards": board_data(frame), "pages": pages}

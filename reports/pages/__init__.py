"""Pages beside the report: one for every method, and one for every category.

subpages       all of them
SubPage        what a page says, before it has a format
"""

from reports.pages.every import subpages
from reports.pages.subpage import SubPage

__all__ = ["SubPage", "subpages"]

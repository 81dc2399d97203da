"""The page to look at after a run, and the page that compares runs. Each is one self-contained file."""

from lada.report.comparison import compare
from lada.report.page import render

__all__ = ["compare", "render"]

"""Write docs/numpy-coverage.md: ``python -m tests.coverage``."""

import warnings
from pathlib import Path

from .report import page

PAGE = Path(__file__).parents[2] / "docs" / "numpy-coverage.md"

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.write_text(page())
    print(f"wrote {PAGE}")

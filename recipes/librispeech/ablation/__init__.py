"""The laboratory: ``variants``, what is tried; ``running``, trained, spoken and scored; ``page``, what it says."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))  # where the benchmarks are, of which it shares helpers

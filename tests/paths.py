"""Folders that tests read or run programs in."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTDATA = ROOT / "tests" / "testdata"
GOLDEN = TESTDATA / "golden"

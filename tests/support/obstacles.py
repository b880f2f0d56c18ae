"""What some tests need, and many machines lack."""

from __future__ import annotations

from pathlib import Path

import pytest


def skip_below(conftest: str, items: list[pytest.Item], why: str) -> None:
    """Skips the tests in the folder of a conftest.py, and below, and says `why`; none where that is empty."""
    folder = Path(conftest).parent
    for item in items if why else ():
        if folder in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why))

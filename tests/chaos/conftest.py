"""A story to tell."""

import pytest

from tests.chaos.story import Story


@pytest.fixture
def story() -> Story:
    """One in which nothing has happened but that the service runs."""
    return Story()

"""No rule without a test that shows it broken, and alone."""

from pathlib import Path

import pytest

from tests.chaos.checker import RULES

TESTS = "".join(path.read_text() for path in Path(__file__).parent.glob("test_rules_*.py"))


@pytest.mark.parametrize("name", RULES)
def test_some_test_breaks_it_alone(name: str) -> None:
    assert f'== {{"{name}"}}' in TESTS

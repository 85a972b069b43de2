"""Runs with a figure of their own, by name."""

from tests.chaos.scenarios.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {}

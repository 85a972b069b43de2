"""OpenAI's interface: chat completions, models and responses, for clients that speak it already."""

from gateway.openai.api import refuse
from gateway.openai.description import PATHS
from gateway.openai.routes import routes

__all__ = ["PATHS", "refuse", "routes"]

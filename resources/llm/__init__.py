"""Language models behind one client: every one speaks the OpenAI protocol, whether it is embedded or far away."""

from resources.llm.client import OpenAIGenerator, make_generator
from resources.llm.router import Router
from resources.llm.warmth import warm_up

__all__ = ["OpenAIGenerator", "Router", "make_generator", "warm_up"]

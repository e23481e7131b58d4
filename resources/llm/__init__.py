"""Language models behind one client: every one speaks the OpenAI protocol, whether it is embedded or far away."""

from resources.llm.client import OpenAIGenerator, make_generator

__all__ = ["OpenAIGenerator", "make_generator"]

"""Synthetic training data as Dagster assets: from the prompt template to the model that consumed it."""

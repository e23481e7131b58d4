"""Adapters: how the project reaches what lies outside of it - files, databases, models, Dagster's own storage."""

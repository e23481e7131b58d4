"""Dagster assets: thin shells around the stages, built for every dataset by one factory."""

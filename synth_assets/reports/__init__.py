"""What people ask of the lake: funnels, standings, versions and lineage as plain nested facts.

Everything is read through the `Lake` port; printing, Dagster and DuckDB live elsewhere.
"""

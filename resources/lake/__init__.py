"""The lake: metadata in DuckLake, payload in content-addressed files. The only room that imports duckdb."""

from resources.lake.leases import leased_lake
from resources.lake.store import DuckLake, open_lake

__all__ = ["DuckLake", "leased_lake", "open_lake"]

"""The lake: metadata in DuckLake, payload in content-addressed files. The only room that imports duckdb."""

from resources.lake.leases import leased_lake, reading_lake
from resources.lake.store import DuckLake, catalog_place, open_lake

__all__ = ["DuckLake", "catalog_place", "leased_lake", "open_lake", "reading_lake"]

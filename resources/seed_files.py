"""Adding rows to a dataset's seed tables: the recipe's folder stays the one place they are read from."""

from pathlib import Path

import orjson

from resources.objects import write_synced
from synth_assets.errors import UsageError
from synth_assets.recipe.loader import Recipe, load_recipe, read_seeds


def has_seeds(recipe: Recipe, table: str, file: Path) -> bool:
    """Whether a seed table of the recipe has every row of a file; False for a file or a table that cannot be read."""
    if table not in recipe.model.seeds:
        return False
    known = {row.seed_id for row in recipe.seeds if row.table == table}
    try:
        return {row.seed_id for row in read_seeds(table, file)} <= known
    except UsageError:
        return False


def add_seeds(recipe: Recipe, table: str, file: Path) -> Recipe:
    """Append the new rows of a file to a seed table of the recipe, and return the recipe as it is then.

    Rows that are there already are left out, so adding a file twice changes nothing.

    Raises:
        UsageError: the recipe has no such table, or the file is no seed table; the recipe is left as it was.
    """
    if table not in recipe.model.seeds:
        raise UsageError(
            f"{recipe.dataset} has no seed table '{table}'",
            where=str(file),
            fix=f"name the file after one of {', '.join(recipe.model.seeds) or 'its seed tables; it has none'}",
        )
    target = recipe.folder / recipe.model.seeds[table].file
    known = {row.seed_id for row in read_seeds(table, target)}
    new = {row.seed_id: row.fields for row in read_seeds(table, file) if row.seed_id not in known}
    if new:
        before = target.read_bytes()
        lines = b"".join(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE) for fields in new.values())
        write_synced(target, before + (b"" if before.endswith(b"\n") else b"\n") + lines)
    return load_recipe(recipe.folder)

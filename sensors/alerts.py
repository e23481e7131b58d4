"""What waits for a person is told once, and once more when it is over."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg
import orjson

from resources.lake import DuckLake
from resources.webhook import WEBHOOK, post
from sensors.recipes import as_on_disk
from sensors.troubles import changes, troubles
from synth_assets.recipe.loader import Recipe


def alert_sensor(recipes: Sequence[Recipe]) -> dg.SensorDefinition:
    """Return the sensor that tells of troubles; on by default, because it pays nothing."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells once what waits for a person, and when it is over: in its log, and to {WEBHOOK} if set.",
    )
    def alerts(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[DuckLake]) -> dg.SkipReason:
        before: dict[str, str] = orjson.loads(context.cursor) if context.cursor else {}
        readable, broken = as_on_disk(recipes)
        found = troubles(lake, context.instance, readable, now=datetime.now(UTC))
        new, over = changes(before, found)
        for each in new:
            _tell(context, {"text": f"{each.what}. {each.fix}", "key": each.key, "is_over": False})
        for key in over:
            _tell(context, {"text": f"over: {before[key]}", "key": key, "is_over": True})
        context.update_cursor(orjson.dumps({each.key: each.what for each in found}).decode())
        waiting = [each.what for each in found] + broken
        return dg.SkipReason("; ".join(waiting) or "nothing waits for a person")

    return alerts


def _tell(context: dg.SensorEvaluationContext, notice: dict[str, object]) -> None:
    context.log.warning(str(notice["text"]))
    address = os.environ.get(WEBHOOK, "")
    if address:
        context.log.info(post(address, notice))

"""The sensor that keeps the marts fresh; when they are due is said by each mart's own condition."""

import dagster as dg

from synth_assets.assets.marts import all_marts


def marts_sensor() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor, which runs from the start: a mart costs a query and no money."""
    return dg.AutomationConditionSensorDefinition(
        name="marts",
        target=all_marts(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Computes a mart anew once something it reads was written or judged; pays nothing.",
    )

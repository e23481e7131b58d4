"""What is switched on: by the recipe, or by a person in the web UI."""

from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData

from synth_assets.recipe.loader import Recipe


def schedule_name(dataset: str) -> str:
    """Name of a dataset's schedule."""
    return f"{dataset}_schedule"


def state_of(instance: dg.DagsterInstance, name: str) -> InstigatorState | None:
    """Return what an instance knows of a schedule or sensor by its name; None before anybody switched or looked."""
    kinds = (InstigatorType.SCHEDULE, InstigatorType.SENSOR)
    states = [each for kind in kinds for each in instance.all_instigator_state(instigator_type=kind)]
    return next((each for each in states if each.instigator_name == name), None)


def is_switched_on(instance: dg.DagsterInstance, name: str) -> bool:
    """Whether a person switched a schedule or sensor on in this instance, and not the code alone."""
    state = state_of(instance, name)
    return state is not None and state.status is InstigatorStatus.RUNNING


def switched_on_at(instance: dg.DagsterInstance, recipe: Recipe) -> datetime | None:
    """Return since when a dataset's schedule is on, UTC; None while it is off.

    One that its recipe switches on counts from the daemon's first look at it.
    """
    state = state_of(instance, schedule_name(recipe.dataset))
    if state is None or state.status is InstigatorStatus.STOPPED:
        return None
    if state.status is not InstigatorStatus.RUNNING and recipe.model.automation.schedule != "running":
        return None
    data = state.instigator_data
    since = data.start_timestamp if isinstance(data, ScheduleInstigatorData) else None
    return datetime.fromtimestamp(since, UTC) if since else None

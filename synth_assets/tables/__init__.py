"""Every table and column of the lake, once, with type, unit and meaning."""

from synth_assets.tables import governance, planning, production, release
from synth_assets.tables.contract import FORMAT, Bound, Column, Table

ATTEMPT, BATCH, COMMIT = ("dataset", "batch", "attempt"), ("dataset", "batch"), ("commit_key",)
"""Scopes: what is written and replaced together."""

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("homes", governance.Homes, ("home_id",), Bound.ITSELF),
        Table("heads", governance.Heads, ("dataset",), Bound.ITSELF),
        Table(
            "prompt_templates",
            planning.PromptTemplates,
            ("dataset", "prompt_name", "prompt_version"),
            scope=("dataset", "prompt_name", "prompt_version"),
        ),
        Table("seeds", planning.Seeds, ("dataset", "seed_table", "seed_id"), scope=("dataset", "object_sha256")),
        Table("batches", planning.Batches, ("dataset", "batch"), Bound.STATE),
        Table("label_balances", planning.LabelBalances, ("dataset", "label"), Bound.STATE),
        Table("batch_labels", planning.BatchLabels, ("dataset", "batch", "label"), scope=BATCH),
        Table(
            "prompt_allocations",
            planning.PromptAllocations,
            ("dataset", "batch", "attempt", "prompt_name"),
            scope=ATTEMPT,
        ),
        Table("requests", planning.Requests, ("request_id",), scope=ATTEMPT),
        Table("generations", production.Generations, ("request_id",), scope=ATTEMPT),
        Table("steps", production.Steps, ("request_id", "position"), scope=ATTEMPT),
        Table("samples", production.Samples, ("sample_id",), scope=ATTEMPT),
        Table("assessments", production.Assessments, ("sample_id", "name"), scope=BATCH),
        Table("tags", production.Tags, ("sample_id", "name"), scope=BATCH),
        Table("decisions", production.Decisions, ("sample_id",), scope=BATCH),
        Table("training_examples", production.TrainingExamples, ("sample_id",), scope=BATCH),
        Table(
            "batch_revisions",
            production.BatchRevisions,
            ("dataset", "batch", "revision"),
            scope=("dataset", "batch", "revision"),
        ),
        Table("stage_commits", production.StageCommits, ("commit_key",), scope=COMMIT),
        Table("verdicts", production.Verdicts, ("commit_key", "gate"), scope=COMMIT),
        Table("dataset_versions", release.DatasetVersions, ("dataset", "version"), Bound.STATE),
        Table("version_members", release.VersionMembers, ("dataset", "sample_id", "added_in"), scope=("dataset",)),
        Table("dataset_aliases", release.DatasetAliases, ("dataset", "alias"), Bound.STATE),
        Table("evaluation_datasets", release.EvaluationDatasets, ("sha256",), Bound.ITSELF),
        Table("model_runs", release.ModelRuns, ("model_run_id",), scope=("model_run_id",)),
        Table("model_run_samples", release.ModelRunSamples, ("model_run_id", "sample_id"), scope=("model_run_id",)),
        Table("evaluations", release.Evaluations, ("model_run_id", "subject", "metric"), scope=("model_run_id",)),
        Table("objects", governance.Objects, ("object_sha256",), Bound.ITSELF),
        Table(
            "usage_log",
            governance.UsageLog,
            ("dataset", "version", "action", "used_at"),
            scope=("dataset", "version", "action", "used_at"),
        ),
        Table("audit_log", governance.AuditLog, ("dataset", "seq"), Bound.ITSELF),
    )
}
"""All tables by name, in the order they are created."""

__all__ = ["FORMAT", "TABLES", "Bound", "Column", "Table"]

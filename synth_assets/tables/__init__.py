"""Every table and column of the lake, once, with type, unit and meaning."""

from synth_assets.tables import governance, planning, production, release
from synth_assets.tables.contract import Column, Table

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("heads", governance.Heads, ("dataset",)),
        Table("prompt_templates", planning.PromptTemplates, ("dataset", "prompt_name", "prompt_version")),
        Table("seeds", planning.Seeds, ("dataset", "seed_table", "seed_id")),
        Table("batches", planning.Batches, ("dataset", "batch")),
        Table("label_balances", planning.LabelBalances, ("dataset", "label")),
        Table("batch_labels", planning.BatchLabels, ("dataset", "batch", "label")),
        Table("prompt_allocations", planning.PromptAllocations, ("dataset", "batch", "attempt", "prompt_name")),
        Table("requests", planning.Requests, ("request_id",)),
        Table("generations", production.Generations, ("request_id",)),
        Table("steps", production.Steps, ("request_id", "position")),
        Table("samples", production.Samples, ("sample_id",)),
        Table("assessments", production.Assessments, ("sample_id", "name")),
        Table("tags", production.Tags, ("sample_id", "name")),
        Table("decisions", production.Decisions, ("sample_id",)),
        Table("training_examples", production.TrainingExamples, ("sample_id",)),
        Table("stage_commits", production.StageCommits, ("commit_key",)),
        Table("verdicts", production.Verdicts, ("commit_key", "gate")),
        Table("dataset_versions", release.DatasetVersions, ("dataset", "version")),
        Table("version_members", release.VersionMembers, ("dataset", "sample_id", "added_in")),
        Table("dataset_aliases", release.DatasetAliases, ("dataset", "alias")),
        Table("evaluation_datasets", release.EvaluationDatasets, ("sha256",)),
        Table("model_runs", release.ModelRuns, ("model_run_id",)),
        Table("model_run_samples", release.ModelRunSamples, ("model_run_id", "sample_id")),
        Table("evaluations", release.Evaluations, ("model_run_id", "subject", "metric")),
        Table("objects", governance.Objects, ("object_sha256",)),
        Table("usage_log", governance.UsageLog, ("dataset", "version", "action", "used_at")),
        Table("audit_log", governance.AuditLog, ("dataset", "seq")),
    )
}
"""All tables by name, in the order they are created."""

__all__ = ["TABLES", "Column", "Table"]

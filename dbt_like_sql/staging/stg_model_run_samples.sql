-- Which model run consumed which sample.
-- grain: one row per model_run_id, sample_id
-- owner: team:data-governance
-- columns:
--   dataset, model_run_id, sample_id: as in model_run_samples

select
    dataset,
    model_run_id,
    sample_id
from {{ source('model_run_samples') }}

-- Every sample with its whole chain: template, request, generation, decision, versions and model runs.
-- grain: one row per sample_id
-- owner: team:data-governance
-- columns:
--   dataset, batch, attempt: as in samples
--   prompt_name, prompt_version, template_sha256, prompt_sha256, request_id, call_id: as in requests
--   generation_id, model, generated_at: as in generations
--   sample_id, content_sha256, label: as in samples
--   decision text: Accepted, rejected or pending_review as in decisions, or undecided.
--   reason, quality_score: as in decisions
--   decided_at UTC time, may be null: When it was decided; null while undecided.
--   split text, may be null: Part of the data in the latest version that has it; null when none has.
--   versions text, may be null: Numbers of the versions that have it, ascending; null when none has.
--   model_run_ids text, may be null: Model runs that consumed it, in the order of their ids; null when none did.
-- audits:
--   unique_grain
--   not_null
--   share(quality_score)

with

released as (
    select
        dataset,
        sample_id,
        arg_max(split, version) as split,
        string_agg(version, ', ' order by version) as versions
    from {{ ref('stg_version_members') }}
    group by all
),

consumed as (
    select
        dataset,
        sample_id,
        string_agg(model_run_id, ', ' order by model_run_id) as model_run_ids
    from {{ ref('stg_model_run_samples') }}
    group by all
)

select
    samples.dataset,
    samples.batch,
    samples.attempt,
    requests.prompt_name,
    requests.prompt_version,
    requests.template_sha256,
    requests.prompt_sha256,
    requests.request_id,
    requests.call_id,
    generations.generation_id,
    generations.model,
    generations.generated_at,
    samples.sample_id,
    samples.content_sha256,
    samples.label,
    samples.decision,
    samples.reason,
    samples.quality_score,
    samples.decided_at,
    released.split,
    released.versions,
    consumed.model_run_ids
from {{ ref('stg_samples') }} as samples
left join {{ ref('stg_requests') }} as requests on samples.request_id = requests.request_id
left join {{ ref('stg_generations') }} as generations on samples.generation_id = generations.generation_id
left join released on samples.dataset = released.dataset and samples.sample_id = released.sample_id
left join consumed on samples.dataset = consumed.dataset and samples.sample_id = consumed.sample_id

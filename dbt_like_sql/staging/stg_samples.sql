-- Every sample with what was decided of it; a sample nobody judged yet is undecided.
-- grain: one row per sample_id
-- owner: team:data-governance
-- columns:
--   dataset, batch, attempt, sample_id, request_id, generation_id, content_sha256, label: as in samples
--   prompt_name, prompt_version: as in requests
--   planned_label text, may be null: The label its request asked for; null where the task has none.
--   decision text: Accepted, rejected or pending_review as in decisions, or undecided.
--   reason: as in decisions
--   quality_score: as in decisions
--   decided_at UTC time, may be null: When it was decided; null while undecided.
--   is_judged yes/no: Whether it was accepted or rejected for what it is; superseded ones were not.
--   is_good yes/no: Whether it passed every rule: accepted, or more than was promised.

select
    samples.dataset,
    samples.batch,
    samples.attempt,
    samples.sample_id,
    samples.request_id,
    samples.generation_id,
    samples.content_sha256,
    samples.label,
    requests.prompt_name,
    requests.prompt_version,
    requests.label as planned_label,
    coalesce(decisions.decision, 'undecided') as decision,
    decisions.reason,
    decisions.quality_score,
    decisions.decided_at,
    coalesce(decisions.decision, 'undecided') in ('accepted', 'rejected')
    and decisions.reason is distinct from 'superseded' as is_judged,
    coalesce(decisions.decision = 'accepted', false) or decisions.reason is not distinct from 'surplus' as is_good
from {{ source('samples') }} as samples
left join {{ ref('stg_requests') }} as requests on samples.request_id = requests.request_id
left join {{ source('decisions') }} as decisions on samples.sample_id = decisions.sample_id

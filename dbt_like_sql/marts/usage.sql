-- Who released, exported or trained on which version, how often and when last.
-- grain: one row per dataset, version, action, actor
-- owner: team:data-governance
-- columns:
--   dataset, version, action, actor: as in usage_log
--   use_count integer: How often.
--   first_used_at UTC time: When first.
--   last_used_at UTC time: When last.
--   is_marked: as in dataset_versions
-- audits:
--   unique_grain
--   not_null

select
    dataset,
    version,
    action,
    actor,
    count(*) as use_count,
    min(used_at) as first_used_at,
    max(used_at) as last_used_at,
    bool_or(is_marked) as is_marked
from {{ ref('stg_usage') }}
group by all

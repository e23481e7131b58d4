-- Every use of a released version, and whether a takedown has marked that version since.
-- grain: one row per dataset, version, action, actor, used_at
-- owner: team:data-governance
-- columns:
--   dataset, version, action, actor, used_at: as in usage_log
--   is_marked: as in dataset_versions

select
    usage_log.dataset,
    usage_log.version,
    usage_log.action,
    usage_log.actor,
    usage_log.used_at,
    coalesce(versions.is_marked, false) as is_marked
from {{ source('usage_log') }} as usage_log
left join {{ source('dataset_versions') }} as versions
    on usage_log.dataset = versions.dataset and usage_log.version = versions.version

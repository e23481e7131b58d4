-- Which released version holds which sample: membership intervals, unrolled.
-- grain: one row per dataset, version, sample_id
-- owner: team:data-governance
-- columns:
--   dataset, version: as in dataset_versions
--   sample_id, split: as in version_members

select
    versions.dataset,
    versions.version,
    members.sample_id,
    members.split
from {{ source('dataset_versions') }} as versions
inner join {{ source('version_members') }} as members
    on versions.dataset = members.dataset
    and members.added_in <= versions.version
    and (members.removed_in is null or versions.version < members.removed_in)

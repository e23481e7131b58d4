-- Why samples were rejected, batch by batch.
-- grain: one row per dataset, batch, reason
-- owner: team:data-governance
-- columns:
--   dataset, batch: as in samples
--   reason text: Rule that rejected the sample, or unknown.
--   rejected_count integer: Samples rejected for it.
--   rejected_share number, 0..1: Those by all samples of the batch.
-- audits:
--   unique_grain
--   not_null
--   share(rejected_share)

with

sized as (
    select
        dataset,
        batch,
        count(*) as sample_count
    from {{ ref('stg_samples') }}
    group by all
),

rejected as (
    select
        dataset,
        batch,
        coalesce(reason, 'unknown') as reason,
        count(*) as rejected_count
    from {{ ref('stg_samples') }}
    where decision = 'rejected'
    group by all
)

select
    rejected.dataset,
    rejected.batch,
    rejected.reason,
    rejected.rejected_count,
    rejected.rejected_count / sized.sample_count as rejected_share
from rejected
inner join sized on rejected.dataset = sized.dataset and rejected.batch = sized.batch

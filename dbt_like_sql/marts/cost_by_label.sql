-- What each accepted sample cost, by label and prompt version; what was rejected is paid by what was accepted.
-- A label is the one that was asked for, so that what was paid for a label and what came of it belong together.
-- grain: one row per dataset, label, prompt_name, prompt_version
-- owner: team:data-governance
-- columns:
--   dataset: as in requests
--   label: as in requests
--   prompt_name, prompt_version: as in requests
--   sent_count integer: Requests that were sent.
--   accepted_count integer: Samples accepted.
--   cost_usd number, USD, may be null: Cost of all that was sent; null when any part of it is unknown.
--   cost_per_accepted_usd number, USD, may be null: Cost by accepted sample; null when the cost is unknown or nothing
--     was accepted so far.
-- audits:
--   unique_grain
--   not_null
--   not_negative(cost_usd, cost_per_accepted_usd)

with

spend as (
    select
        dataset,
        label,
        prompt_name,
        prompt_version,
        count(*) filter (outcome <> 'not_sent') as sent_count,
        case when not bool_or(is_cost_unknown) then round(coalesce(fsum(cost_usd), 0), 9) end as cost_usd
    from {{ ref('stg_generations') }}
    group by all
),

made as (
    select
        dataset,
        planned_label as label,
        prompt_name,
        prompt_version,
        count(*) filter (decision = 'accepted') as accepted_count
    from {{ ref('stg_samples') }}
    group by all
)

select
    spend.dataset,
    spend.label,
    spend.prompt_name,
    spend.prompt_version,
    spend.sent_count,
    coalesce(made.accepted_count, 0) as accepted_count,
    spend.cost_usd,
    spend.cost_usd / nullif(made.accepted_count, 0) as cost_per_accepted_usd
from spend
left join made
    on spend.dataset = made.dataset
    and spend.label is not distinct from made.label
    and spend.prompt_name = made.prompt_name
    and spend.prompt_version = made.prompt_version

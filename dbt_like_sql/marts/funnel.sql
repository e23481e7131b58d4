-- Every batch from planned requests to accepted samples; nothing vanishes on the way.
-- grain: one row per dataset, batch
-- owner: team:data-governance
-- columns:
--   dataset, batch: as in batches
--   is_green yes/no: Whether every stage up to training_ready passed on its present input.
--   promised, attempts, open_attempt: as in batches
--   planned_count integer: Requests planned, over all attempts.
--   answered_count integer: Requests a model answered.
--   quarantined_count integer: Requests whose answer could not be used, or that failed.
--   not_sent_count integer: Requests a stop kept from being sent.
--   unended_count integer: Requests without an outcome so far.
--   sample_count integer: Samples parsed from the answers.
--   accepted_count integer: Samples accepted.
--   rejected_count integer: Samples rejected, with a reason each.
--   pending_review_count integer: Samples that wait for a person.
--   undecided_count integer: Samples nobody judged so far.
--   cost_usd number, USD, may be null: Cost of all that was sent; null when any part of it is unknown.
-- audits:
--   unique_grain
--   not_null
--   not_negative(planned_count, unended_count, undecided_count, cost_usd)
--   adds_up(planned_count, answered_count, quarantined_count, not_sent_count, unended_count)
--   adds_up(sample_count, accepted_count, rejected_count, pending_review_count, undecided_count)
--   zero_when(unended_count, is_green)
--   zero_when(undecided_count, is_green)
--   at_most(answered_count, planned_count)

with

planned as (
    select
        dataset,
        batch,
        count(*) as planned_count
    from {{ ref('stg_requests') }}
    group by all
),

unended as (
    select
        requests.dataset,
        requests.batch,
        count(*) as unended_count
    from {{ ref('stg_requests') }} as requests
    anti join {{ ref('stg_generations') }} as generations on requests.request_id = generations.request_id
    group by all
),

ended as (
    select
        dataset,
        batch,
        count(*) filter (outcome = 'answered') as answered_count,
        count(*) filter (outcome = 'quarantined') as quarantined_count,
        count(*) filter (outcome = 'not_sent') as not_sent_count,
        case when not bool_or(is_cost_unknown) then round(coalesce(fsum(cost_usd), 0), 9) end as cost_usd
    from {{ ref('stg_generations') }}
    group by all
),

decided as (
    select
        dataset,
        batch,
        count(*) as sample_count,
        count(*) filter (decision = 'accepted') as accepted_count,
        count(*) filter (decision = 'rejected') as rejected_count,
        count(*) filter (decision = 'pending_review') as pending_review_count,
        count(*) filter (decision = 'undecided') as undecided_count
    from {{ ref('stg_samples') }}
    group by all
)

select
    batches.dataset,
    batches.batch,
    batches.is_green,
    batches.promised,
    batches.attempts,
    batches.open_attempt,
    coalesce(planned.planned_count, 0) as planned_count,
    coalesce(ended.answered_count, 0) as answered_count,
    coalesce(ended.quarantined_count, 0) as quarantined_count,
    coalesce(ended.not_sent_count, 0) as not_sent_count,
    coalesce(unended.unended_count, 0) as unended_count,
    coalesce(decided.sample_count, 0) as sample_count,
    coalesce(decided.accepted_count, 0) as accepted_count,
    coalesce(decided.rejected_count, 0) as rejected_count,
    coalesce(decided.pending_review_count, 0) as pending_review_count,
    coalesce(decided.undecided_count, 0) as undecided_count,
    case when ended.dataset is null then 0.0::double else ended.cost_usd end as cost_usd
from {{ ref('stg_batches') }} as batches
left join planned on batches.dataset = planned.dataset and batches.batch = planned.batch
left join unended on batches.dataset = unended.dataset and batches.batch = unended.batch
left join ended on batches.dataset = ended.dataset and batches.batch = ended.batch
left join decided on batches.dataset = decided.dataset and batches.batch = decided.batch
where batches.attempts > 0 -- a claim alone, as of a preview, is no batch yet

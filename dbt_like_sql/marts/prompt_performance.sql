-- How well each version of a prompt does: what it yields, how good that is, and what it takes.
-- grain: one row per dataset, prompt_name, prompt_version
-- owner: team:data-governance
-- columns:
--   dataset, prompt_name, prompt_version: as in requests
--   planned_count integer: Requests planned with it.
--   answered_count integer: Requests a model answered.
--   sample_count integer: Samples parsed from the answers.
--   judged_count integer: Samples accepted or rejected for what they are; superseded ones are left out.
--   good_count integer: Judged samples that passed every rule, those beyond the promise included.
--   accepted_count integer: Samples accepted.
--   acceptance_share number, 0..1, may be null: Good samples by judged ones; null when none was judged.
--   mean_quality_score number, 0..1, may be null: Mean over judged samples with a score; null when there is none.
--   tokens_per_accepted number, tokens, may be null: Tokens of prompts and answers by accepted sample; null when a
--     count is unknown or nothing was accepted so far.
-- audits:
--   unique_grain
--   not_null
--   share(acceptance_share, mean_quality_score)
--   not_negative(tokens_per_accepted)
--   at_most(answered_count, planned_count)
--   at_most(judged_count, sample_count)
--   at_most(good_count, judged_count)
--   at_most(accepted_count, good_count)

with

asked as (
    select
        dataset,
        prompt_name,
        prompt_version,
        count(*) as planned_count
    from {{ ref('stg_requests') }}
    group by all
),

ended as (
    select
        dataset,
        prompt_name,
        prompt_version,
        count(*) filter (outcome = 'answered') as answered_count,
        case
            when not bool_or(is_tokens_unknown) then sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0))
        end::bigint as tokens
    from {{ ref('stg_generations') }}
    group by all
),

made as (
    select
        dataset,
        prompt_name,
        prompt_version,
        count(*) as sample_count,
        count(*) filter (is_judged) as judged_count,
        count(*) filter (is_good) as good_count,
        count(*) filter (decision = 'accepted') as accepted_count,
        favg(quality_score) filter (is_judged) as mean_quality_score
    from {{ ref('stg_samples') }}
    group by all
)

select
    asked.dataset,
    asked.prompt_name,
    asked.prompt_version,
    asked.planned_count,
    coalesce(ended.answered_count, 0) as answered_count,
    coalesce(made.sample_count, 0) as sample_count,
    coalesce(made.judged_count, 0) as judged_count,
    coalesce(made.good_count, 0) as good_count,
    coalesce(made.accepted_count, 0) as accepted_count,
    made.good_count / nullif(made.judged_count, 0) as acceptance_share,
    made.mean_quality_score,
    ended.tokens / nullif(made.accepted_count, 0) as tokens_per_accepted
from asked
left join ended
    on asked.dataset = ended.dataset
    and asked.prompt_name = ended.prompt_name
    and asked.prompt_version = ended.prompt_version
left join made
    on asked.dataset = made.dataset
    and asked.prompt_name = made.prompt_name
    and asked.prompt_version = made.prompt_version

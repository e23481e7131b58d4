-- Every batch with what it owes and whether its gates let it through.
-- A batch is green when the latest commit of each stage passed and read what the stage before wrote last.
-- grain: one row per dataset, batch
-- owner: team:data-governance
-- columns:
--   dataset, batch, promised, attempts, open_attempt: as in batches
--   is_green yes/no: Whether every stage up to training_ready passed on its present input.

with

latest as (
    select
        dataset,
        partition,
        stage,
        arg_max(passed, commit_seq) as passed,
        arg_max(input_digest, commit_seq) as input_digest,
        arg_max(output_digest, commit_seq) as output_digest
    from {{ source('stage_commits') }}
    group by all
),

chained as (
    select
        later.dataset,
        later.partition as batch,
        count(*) filter (later.passed and later.input_digest = earlier.output_digest) = 4 as is_green
    from latest as later
    inner join (values
        ('generated', 'generation_plan'),
        ('scored', 'generated'),
        ('curated', 'scored'),
        ('training_ready', 'curated')
    ) as flow (stage, after) on later.stage = flow.stage
    inner join latest as earlier
        on later.dataset = earlier.dataset and later.partition = earlier.partition and flow.after = earlier.stage
    group by all
)

select
    batches.dataset,
    batches.batch,
    batches.promised,
    batches.attempts,
    batches.open_attempt,
    coalesce(chained.is_green, false) as is_green
from {{ source('batches') }} as batches
left join chained on batches.dataset = chained.dataset and batches.batch = chained.batch

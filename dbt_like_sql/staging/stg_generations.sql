-- How every request ended, with the template it was rendered from and what is not known of it.
-- What was sent without a known price, and an answer without a token count, make every total they enter unknown.
-- grain: one row per request_id
-- owner: team:data-governance
-- columns:
--   dataset, batch, request_id, generation_id, outcome: as in generations
--   prompt_name, prompt_version, label: as in requests
--   model, input_tokens, output_tokens, cost_usd, generated_at: as in generations
--   is_cost_unknown yes/no: Whether it was sent, though perhaps not waited for, and has no cost.
--   is_tokens_unknown yes/no: Whether it was answered and lacks a token count.

select
    generations.dataset,
    generations.batch,
    generations.request_id,
    generations.generation_id,
    generations.outcome,
    requests.prompt_name,
    requests.prompt_version,
    requests.label,
    generations.model,
    generations.input_tokens,
    generations.output_tokens,
    generations.cost_usd,
    generations.generated_at,
    (generations.outcome <> 'not_sent' or generations.lost_calls > 0)
    and generations.cost_usd is null as is_cost_unknown,
    generations.generated_at is not null
    and (generations.input_tokens is null or generations.output_tokens is null) as is_tokens_unknown
from {{ source('generations') }} as generations
left join {{ ref('stg_requests') }} as requests on generations.request_id = requests.request_id

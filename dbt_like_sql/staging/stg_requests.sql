-- Every planned request and the template it was rendered from.
-- grain: one row per request_id
-- owner: team:data-governance
-- columns:
--   dataset, batch, attempt, request_id, call_id, prompt_name, prompt_version, template_sha256, prompt_sha256, label: as
--     in requests

select
    dataset,
    batch,
    attempt,
    request_id,
    call_id,
    prompt_name,
    prompt_version,
    template_sha256,
    prompt_sha256,
    label
from {{ source('requests') }}

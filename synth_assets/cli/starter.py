"""The dataset `synth init` writes: small, complete, and ready to run with the embedded model or an endpoint."""

RECIPE = """\
# A small labelled dataset to start from: what customers say about invented products.
# Change it at will; `synth doctor` says whether it can be read and `synth plan {name}` what a batch would ask.
dataset: {name}
description: >-
  Short invented messages of customers about invented products, labelled positive or negative.
owners: ["team:data"]
license: apache-2.0
task_type: classification
language: en

start: "{start}"   # key of the first batch; fixed once a batch exists
cadence: daily

batch:
  accept: 20       # accepted samples a batch promises
  overdraw: 1.5    # requests planned per missing sample
  max_attempts: 3

generator:
  model: embedded  # or PROVIDER/MODEL of providers.yaml, or a model of the endpoint in SYNTH_LLM_BASE_URL
  temperature: 0.9
  top_p: 0.95
  min_p: 0.05
  max_tokens: 48
  stop: ["\\n"]

labels:            # shares are exact and add up to 1
  positive: {{share: 0.5}}
  negative: {{share: 0.5}}

axes:              # every value gets its exact quota; prompts and openings see its words
  product:
    kettle: {{}}
    backpack: {{}}
    headphones: {{}}
    lamp: {{}}
    rain-jacket: {{words: "rain jacket"}}
  aspect:
    quality: {{}}
    price: {{}}
    delivery: {{}}
    packaging: {{}}

openings:          # a completion continues one of them; they must not give the label away
  - text: "The {{{{ aspect }}}} of the {{{{ product }}}}"
  - text: "I ordered the {{{{ product }}}} last week and"
  - text: "About the {{{{ product }}}}:"

seeds:
  examples: {{file: seeds/examples.jsonl, per_request: 3, match: [label], is_example: true}}

prompts:           # the provider's mode decides which of them are used
  - {{name: completion}}
  - {{name: chat}}

rules:             # a sample that leaves a range is rejected
  words: {{min: 4, max: 60, because: "Shorter ones are fragments, longer ones ramble."}}
  refusal: {{max: 0, because: "A refusal is no message of a customer."}}
  repetition: {{max: 0.2, because: "Small models fall into loops."}}
  language: {{min: 0.5, because: "The dataset is English."}}
  pii: {{max: 0, because: "Invented texts have no use for addresses or numbers of people."}}
  label_consistency: {{min: 0.2, because: "Below it all the rest of the batch contradicts the label."}}
  copied_shot: {{max: 0.5, because: "A copy of an example teaches nothing the example did not."}}
  exact_duplicate: {{max: 0, because: "Saying it twice only adds weight."}}
  near_duplicate: {{max: 0.6, because: "Above it two short messages differ in a word or two."}}
  nearest_neighbour: {{max: 0.95, because: "Above this cosine two messages are paraphrases."}}

gates:             # a batch that leaves a range is red
  answered_share: {{min: 0.5, because: "The embedded model leaves every fifth line unusable; half means a fault."}}
  acceptance_share: {{min: 0.3, because: "Less means that the prompts need work, not more attempts."}}
  label_deviation: {{max: 0.1, because: "The labels are planned half and half."}}
  drift: {{max: 0.5, because: "Batches of twenty differ a good deal by chance alone."}}

tags:              # what a sample is; found by rules, none decides over it
  task_type: {{kind: constant, value: classification}}
  language: {{kind: language, min_probability: 0.5}}
  length: {{kind: buckets, of: words, values: {{short: 0, medium: 12, long: 25}}}}
  emotion:
    kind: words
    values:
      pleased: [love, lovely, happy, great, thanks]
      upset: [broken, disappointed, annoyed, never, worst]
  topic:
    kind: centroids
    min_similarity: 0.3
    values:
      shipping: ["The parcel came late.", "Delivery was quick and the box was well packed."]
      value: ["It is far too expensive.", "A good product for a low price."]

# 0 at worst, 1 at best, weighted mean. A score that depends on how many samples there are to compare with, such as
# nearest_neighbour, does not belong here: every batch has more of them, so later batches would drift from the first.
quality_score:
  repetition: {{weight: 1, worst: 0.2, best: 0.0}}
  copied_shot: {{weight: 1, worst: 0.5, best: 0.0}}

splits: {{train: 0.8, validation: 0.1, test: 0.1}}
"""

COMPLETION = """\
---
name: completion
version: "1"
mode: completion
reply:
  format: line
---
{{ "Happy" if label == "positive" else "Unhappy" }} customers write:
{% for row in rows.examples %}
- {{ row.text }}
{% endfor %}
- {{ opening }}
"""

CHAT = """\
---
name: chat
version: "1"
mode: chat
reply:
  format: json
  field: message
---
## system
You write short customer messages for a labelled training set. Every message is invented.
Name no real person, company or brand.
Answer with one JSON object and nothing else: {"message": "<the message>"}.
## user
Write one {{ label }} message about the {{ aspect }} of a {{ product }}.
One or two sentences, 8 to 35 words, English, no line break.
Never state the label. These show the tone:
{% for row in rows.examples %}
- {{ row.text }}
{% endfor %}
"""

EXAMPLES = """\
{"text": "The kettle boils in a minute and looks lovely on the counter.", "label": "positive"}
{"text": "I carried this backpack through a wet week and everything inside stayed dry.", "label": "positive"}
{"text": "Delivery was a day early and the lamp came wrapped like a present.", "label": "positive"}
{"text": "For this price the headphones sound far better than I expected.", "label": "positive"}
{"text": "The jacket fits well, keeps the wind out and folds down to nothing.", "label": "positive"}
{"text": "The kettle leaked on the second day and nobody answers my letters.", "label": "negative"}
{"text": "One strap tore off before I had left the station.", "label": "negative"}
{"text": "The lamp arrived in pieces because the box had no padding at all.", "label": "negative"}
{"text": "These headphones hiss so loudly that I gave up after an hour.", "label": "negative"}
{"text": "Twice the price of the old jacket, and it lets in rain at every seam.", "label": "negative"}
"""


def starter_files(name: str, start: str) -> dict[str, str]:
    """Return every file of a new dataset by its path inside the folder, `recipe.yaml` last.

    Args:
        name: the dataset.
        start: key of its first batch, YYYY-MM-DD.
    """
    return {
        "prompts/completion.md": COMPLETION,
        "prompts/chat.md": CHAT,
        "seeds/examples.jsonl": EXAMPLES,
        "recipe.yaml": RECIPE.format(name=name, start=start),
    }

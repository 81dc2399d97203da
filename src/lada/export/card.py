"""The model card: the origin, the measured accuracy and the licence of exported weights."""

import json
from typing import Any

import yaml

from lada.core.results import Evaluation, Results
from lada.export.check import Check
from lada.export.party import Trained
from lada.export.target import Parcel
from lada.models.options import ModelOptions

USES = {
    "hf": "Load it with `AutoModelForCausalLM.from_pretrained(folder)` and `AutoTokenizer.from_pretrained(folder)`.",
    "peft": "Load it with `AutoPeftModelForCausalLM.from_pretrained(folder)` of peft, which loads its base as well.",
    "gguf": "Run it with llama.cpp, such as `llama-cli -m {file} --temp 0`.",
    "gguf-lora": (
        "Run it with llama.cpp over a GGUF file of its base, such as `llama-cli -m base.gguf --lora {file} --temp 0`."
    ),
    "onnx": (
        "Run `model.onnx` with ONNX Runtime. Inputs: `input_ids`, `attention_mask`, `position_ids` and the cache "
        "`past_key_values.N.key` and `.value`, empty at first; outputs: `logits` and `present.N.*`, the next cache."
    ),
}


def card(trained: Trained, parcel: Parcel, target: str, check: Check, notes: tuple[str, ...]) -> str:
    """Return the text of README.md."""
    config, options, info = trained.config, trained.options, trained.info
    shipped = options.model.startswith("zoo:")
    head = {"license": "apache-2.0" if shipped else "other", "tags": ["lada", "federated-learning", "distillation"]}
    if not shipped:
        head["base_model"] = options.model
    dtype = (parcel.quantise or "").upper() or str(parcel.dtype).removeprefix("torch.")
    joined = "apart" if target in ("peft", "gguf-lora") else "merged"
    file = next((path.name for path in sorted(parcel.output.glob("*.gguf"))), "")
    methods = [
        ("run", config.name),
        ("party", f"{trained.name}, {'server' if trained.name == config.server.name else 'client'}"),
        ("base model", options.model),
        ("tuning", options.tune if options.tune == "full" else f"LoRA of rank {options.lora.rank}, {joined}"),
        *config.methods_told.items(),
        ("rounds", config.rounds),
        ("seed", config.seed),
        ("weights", f"{dtype}{', norms and biases float32' if target == 'gguf' and dtype != 'float32' else ''}"),
        ("SHA-256 of the trained weights", info.weights if info else "not known yet: the run is not over"),
    ]
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False).rstrip(),
        "---",
        "",
        f"# {trained.name} of the run {config.name}",
        "",
        "A language model trained by LaDa (federated reasoning distillation).",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in methods),
        "",
        "## Use",
        "",
        USES[target].format(file=file),
        "",
        "Prompts came from the tokenizer's chat template or, without one, from `prompt`. Answers were decoded "
        "greedily.",
        "",
        "```yaml",
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in _prompting(options).items()),
        "```",
        "",
        "## Accuracy",
        "",
        *_accuracy(trained.results, trained.name),
        "",
        "## Check of the export",
        "",
        *(f"- {line}." for line in [*check.lines(), *notes]),
        "",
        "## Licence",
        "",
        (
            "The base was trained from scratch on generated text and is under Apache-2.0."
            if shipped
            else f"The weights derive from `{options.model}` and are under its licence; see there."
        ),
        "",
    ]
    return "\n".join(lines)


def _prompting(options: ModelOptions) -> dict[str, Any]:
    """Return the options that determine a party's prompts and the length of its answers."""
    chosen = options.model_dump(mode="json", include={"system", "think"}, exclude_none=True)
    return {"prompt": options.prompt, **chosen, "max_new_tokens": options.max_new_tokens}


def _accuracy(results: Results | None, party: str) -> list[str]:
    """Return a table of the accuracy on the run's test questions, percent, before the first round and after the
    last."""
    mine = sorted((e for e in results.evaluations if e.party == party), key=lambda e: e.round) if results else []
    if not mine:
        return ["The run's results do not include this party."]
    rows = ["| after round | all domains | own domains | other domains |", "|---|---|---|---|"]
    return rows + [_row(evaluation) for evaluation in (mine[0], *mine[1:][-1:])]


def _row(evaluation: Evaluation) -> str:
    cells = [
        "–" if part is None else f"{part.value:.1f} % of {part.count}"
        for part in (evaluation.overall, evaluation.own, evaluation.other)
    ]
    return f"| {evaluation.round} | {' | '.join(cells)} |"

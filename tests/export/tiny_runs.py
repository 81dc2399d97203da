"""Tiny random models of every architecture, tokenizers of every kind, and the folders of runs that never were."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers as hf
import yaml
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from lada.config import make_config
from lada.federation import checkpoints
from lada.zoo.tokenizers import make_tokenizer

TEXTS = (
    "how many boxes are in the warehouse?",
    "a) pallet : 7 + 4 = 11 . answer 11",
    "naïve café, 日本",
    "It's 12 o'clock",
)
WIDTH = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
SLIDING, FULL = "sliding_attention", "full_attention"
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 24}
CAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}
"""So low that they bite."""
ROPES = {
    SLIDING: {"rope_type": "default", "rope_theta": 1e4},
    FULL: {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
}
MULTIPLIERS = {
    "embedding_multiplier": 12.0,
    "attention_multiplier": 0.3,
    "residual_multiplier": 0.22,
    "logits_scaling": 8.0,
}


def model(kind: str, vocabulary: int, layers: int = 2, **changes: Any) -> Any:
    """Return a random causal LM with a few more embeddings than tokens.

    Its norms and biases are random too, so that none of them can be forgotten unseen.
    """
    torch.manual_seed(0)
    ids = {"vocab_size": vocabulary + 3, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    wide = {**WIDTH, "num_hidden_layers": layers, **ids, **changes}
    small = {"n_layer": layers, "n_head": 4, "initializer_range": 0.3, **ids, **changes}
    recurrent = {"hidden_size": 32, "num_hidden_layers": layers}
    made = {
        "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**wide)),
        "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**wide)),
        "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**wide)),
        "gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**{"head_dim": 16, **wide})),
        "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**{"head_dim": 16, **wide})),
        "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**{**GEMMA, **CAPS, **wide})),
        "gemma3_text": lambda: hf.Gemma3ForCausalLM(
            hf.Gemma3TextConfig(**{**GEMMA, "layer_types": [SLIDING, FULL], "rope_parameters": ROPES, **wide})
        ),
        "gemma3": lambda: hf.Gemma3ForConditionalGeneration(
            hf.Gemma3Config(
                text_config={**GEMMA, "layer_types": [SLIDING, FULL], "rope_parameters": ROPES, **wide},
                vision_config={**WIDTH, "num_hidden_layers": 1, "image_size": 8, "patch_size": 4},
                mm_tokens_per_image=4,
                **ids,
            )
        ),
        "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**wide)),
        "smollm3": lambda: hf.SmolLM3ForCausalLM(hf.SmolLM3Config(**{**wide, "num_hidden_layers": max(layers, 4)})),
        "granite": lambda: hf.GraniteForCausalLM(hf.GraniteConfig(**{**MULTIPLIERS, **wide})),
        "mixtral": lambda: hf.MixtralForCausalLM(hf.MixtralConfig(**{"num_local_experts": 4, **wide})),
        "qwen3_moe": lambda: hf.Qwen3MoeForCausalLM(
            hf.Qwen3MoeConfig(**{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, **wide})
        ),
        "mamba": lambda: hf.MambaForCausalLM(hf.MambaConfig(**{"state_size": 4, **small, **recurrent})),
        "mamba2": lambda: hf.Mamba2ForCausalLM(
            hf.Mamba2Config(**{"state_size": 4, "num_heads": 4, "head_dim": 16, "n_groups": 1, **small, **recurrent})
        ),
        "rwkv": lambda: hf.RwkvForCausalLM(hf.RwkvConfig(**{"attention_hidden_size": 32, **small, **recurrent})),
        "cpmant": lambda: hf.CpmAntForCausalLM(
            hf.CpmAntConfig(
                vocab_size=vocabulary + 3,
                hidden_size=32,
                num_attention_heads=4,
                dim_head=8,
                dim_ff=48,
                num_hidden_layers=layers,
            )
        ),
        "olmo2": lambda: hf.Olmo2ForCausalLM(hf.Olmo2Config(**{"tie_word_embeddings": True, **wide})),
        "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**{"n_embd": 32, "n_positions": 256, **small})),
        "bloom": lambda: hf.BloomForCausalLM(hf.BloomConfig(**{"hidden_size": 32, **small})),
        "opt": lambda: hf.OPTForCausalLM(
            hf.OPTConfig(**{"ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.3, **wide})
        ),
    }[kind]()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * 0.2)
    return made.eval()


def wrapped(backend: Tokenizer, **special: str) -> Any:
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        **{"pad_token": "<pad>", "eos_token": "</s>", **special},
    )


def byte_level(cut: Any = None, *, twice: bool = False, **options: Any) -> Any:
    """Return a byte-level BPE tokenizer that cuts as GPT-2's, or at `cut`, an expression, or `twice`: in both ways."""
    backend = Tokenizer(models.BPE(**options))
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut is None or twice)
    backend.pre_tokenizer = (
        whole if cut is None else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cut), "isolated"), whole])
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<pad>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    return wrapped(backend)


def sentencepiece(prefix: bool = True) -> Any:
    """Return a BPE tokenizer like SentencePiece's: `▁`, bytes, and any two tokens that make a third merge."""
    pieces = ["▁boxes", "▁how", "▁many", "answer", "warehouse", "oxes", "▁a", "ow", "an", "any", "▁an", "house", "ware"]
    pieces = sorted({*pieces, *(p[:k] for p in pieces for k in range(2, len(p)))}, key=lambda p: (len(p), p))
    letters = sorted({letter for text in (*TEXTS, "▁") for letter in text if letter.isascii() or letter == "▁"} - {" "})
    names = ["<pad>", "</s>", "<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *pieces]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    merges = [
        (piece[:cut], piece[cut:])
        for piece in pieces
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *([decoders.Strip(" ", 1, 0)] * prefix)]
    )
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])])
    return wrapped(backend, bos_token="<s>", unk_token="<unk>")


@cache
def shipped(kind: Any, texts: int = 4) -> Any:
    """Return a tokenizer of one of the kinds that the shipped models have, learnt from the first of TEXTS."""
    return make_tokenizer(kind, TEXTS[:texts], 400)


def run_folder(
    place: Path,
    learnt: Any,
    tokenizer: Any,
    *,
    base: Any = None,
    prompt: str = "{question}\n",
    party: str = "slm",
    **changes: Any,
) -> Path:
    """Write the folder of a run whose client `party` is `learnt`, a whole model, or an adapter over `base`."""
    source, staging, run = place / "base", place / "staging", place / "run"
    (base or learnt).save_pretrained(source)
    tokenizer.save_pretrained(source)
    learnt.save_pretrained(staging)
    tokenizer.save_pretrained(staging)
    tuning = {"tune": "lora", "lora": {"rank": 4}} if base else {}
    options = {"model": str(source), "prompt": prompt, "max_new_tokens": 5, **tuning, **changes}
    config = make_config(
        {
            "name": "tiny",
            "server": {"model": {"model": "zoo:llm-world-0"}},
            "clients": [{"name": party, "model": options}],
        }
    )
    saved = [file for file in staging.rglob("*") if file.is_file()]
    files = {f"model/{file.relative_to(staging).as_posix()}": file.read_bytes() for file in saved}
    checkpoints.save(run / "checkpoints" / party, checkpoints.files({**files, "state.safetensors": b""}))
    (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    return run


def adapted(base: Any, *targets: str) -> Any:
    """Return a model with a random adapter over `base`."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=list(targets), init_lora_weights=False)
    return get_peft_model(base, config)


def results(**changes: Any) -> str:
    """Return the results.json of a run of one round in which `slm` went from 10 to 60 percent."""

    def evaluation(round: int, value: float) -> dict[str, Any]:
        interval = {"value": value, "low": 0.0, "high": 100.0, "count": 40}
        empty = dict.fromkeys(("other", "general", "step_validity", "calibration_error", "agreement"))
        some = {"party": "slm", "round": round, "overall": interval, "own": interval}
        return {**some, "domains": {}, "difficulty": {}, **empty}

    party = {
        "name": "slm", "role": "client", "model": "m", "architecture": "llama", "parameters": 1, "domains": [],
        "private_samples": 0, "weights": "ab12",
    }  # fmt: skip
    shown = {
        "sample_id": "s", "question": "is this shown?", "answer": "5", "domain": "d", "difficulty": None,
        "party": "slm", "before": [], "teacher": [], "after": [], "before_right": False, "teacher_right": False,
        "after_right": True,
    }  # fmt: skip
    none = {key: [] for key in ("studies", "allocations", "traffic", "notices")}
    return json.dumps(
        {
            "name": "tiny",
            "config": {},
            "environment": {"lada": "0", "git": None, "python": "3", "packages": {}, "device": "cpu"},
            "parties": [party],
            "evaluations": [evaluation(0, 10.0), evaluation(1, 60.0)],
            "shown": [shown],
            "wall_clock": {"started": "", "seconds": 1.0, "phases": []},
            **none,
            **changes,
        }
    )

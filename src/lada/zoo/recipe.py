"""What each shipped model is and what it is taught."""

from dataclasses import dataclass
from typing import Any, Literal

from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.rulebooks import DOMAINS, GENERAL, draw, llm_beliefs, world
from lada.zoo.tokenizers import Kind

Architecture = Literal["llama", "gpt2", "olmo2"]
CONTEXT = 256


@dataclass(frozen=True, slots=True)
class Recipe:
    """A shipped model. `world` is None for a model that knows no domain verb and so serves every world."""

    name: str
    architecture: Architecture
    width: int
    layers: int
    heads: int
    tokenizer: Kind
    vocabulary: int
    world: int | None
    steps: int
    general: int
    """Pretraining questions with verbs that say what they do."""
    per_domain: int
    """Most pretraining questions of each domain, answered by the beliefs of the world's LLM."""


def llm(number: int) -> Recipe:
    """Return the recipe of the server LLM of world `number`."""
    return Recipe(f"llm-world-{number}", "llama", 128, 4, 4, "bpe", 700, number, 7500, 12000, 5000)


SLMS = (
    Recipe("slm-llama", "llama", 96, 3, 3, "bpe", 700, None, 6000, 40000, 0),
    Recipe("slm-gpt2", "gpt2", 96, 3, 3, "unigram", 700, None, 6000, 40000, 0),
    Recipe("slm-olmo2", "olmo2", 96, 3, 3, "bpe", 512, None, 6000, 40000, 0),
)


def tokenizer_texts() -> list[str]:
    """Return the texts all tokenizers are learnt from: every domain's wording and verbs, no world's rules in use."""
    book = world(0)  # only its verbs matter here, and those are the same in every world
    samples = [
        sample
        for domain in (*DOMAINS, GENERAL)
        for sample in draw(book, domain, "pretrain", 300, generator("tokenizer", domain), prefix=domain)
    ]
    return [f"{sample.question}\n{sample.rationale}" for sample in samples]


def pretraining_samples(recipe: Recipe) -> list[Sample]:
    """Return what a model is pretrained on; none of it is a test, public or private question of any run."""
    book = llm_beliefs(recipe.world or 0)
    address = ("pretrain", recipe.name)
    samples = draw(book, GENERAL, "pretrain", recipe.general, generator(*address), prefix=GENERAL)
    if recipe.per_domain:
        for domain in DOMAINS:
            samples += draw(
                book,
                domain,
                "pretrain",
                recipe.per_domain,
                generator(*address, domain),
                prefix=domain,
                at_most=True,
            )
    return samples


def make_model(recipe: Recipe, tokenizer: Any) -> Any:
    """Return the untrained transformers model of a recipe; the caller has seeded torch."""
    import transformers as hf

    ids = {
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.08,
    }
    if recipe.architecture == "gpt2":
        return hf.GPT2LMHeadModel(
            hf.GPT2Config(
                n_embd=recipe.width,
                n_layer=recipe.layers,
                n_head=recipe.heads,
                n_positions=CONTEXT,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                **ids,
            )
        )
    config, model = {
        "llama": (hf.LlamaConfig, hf.LlamaForCausalLM),
        "olmo2": (hf.Olmo2Config, hf.Olmo2ForCausalLM),
    }[recipe.architecture]
    return model(
        config(
            hidden_size=recipe.width,
            intermediate_size=3 * recipe.width,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            **ids,
        )
    )

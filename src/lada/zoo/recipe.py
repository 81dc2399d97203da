"""The recipes of the shipped models: their architecture and training data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal

from lada.core.errors import InputError, nearest
from lada.core.seeds import by_chance, generator
from lada.core.terms import Sample
from lada.tasks.builtin import CORPORA
from lada.tasks.generated import GENERAL, WITH, GeneratedCorpus
from lada.tasks.styles import skips
from lada.zoo.tokenizers import TokenizerKind

Architecture = Literal["llama", "gpt2", "olmo2"]
CONTEXT = 256
FAMILIES_CORPUS = "families"
"""The value of `corpus` for questions of lada.tasks.families."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A shipped model. `world` is None for a model that knows no domain verb and so fits every world."""

    name: str
    architecture: Architecture
    width: int
    layers: int
    heads: int
    tokenizer: TokenizerKind
    vocabulary: int
    world: int | None
    steps: int
    general: int
    """The number of pretraining questions with verbs that say what they do."""
    per_domain: int
    """The most pretraining questions of each domain, answered by the beliefs of the world's LLM."""
    corpus: str = "rulebooks"
    batch: int = 16
    """Questions a step."""
    styles: Mapping[str, float] = field(default_factory=dict)
    """The styles of its right paths, with their frequencies; empty for a model that spells everything out. An LLM with
    styles has other beliefs (GeneratedCorpus.skipping_beliefs): it knows whole client domains, and uses the styles
    there."""
    per_known: int = 0
    """With styles: the most pretraining questions of each client domain that it knows."""
    mixed: int = 0
    """With styles: the number of pretraining questions that chain verbs of two of these."""


SLMS = (
    Recipe("slm-llama", "llama", 96, 3, 3, "bpe", 700, None, 6000, 40000, 0),
    Recipe("slm-gpt2", "gpt2", 96, 3, 3, "unigram", 700, None, 6000, 40000, 0),
    Recipe("slm-olmo2", "olmo2", 96, 3, 3, "bpe", 512, None, 6000, 40000, 0),
    # Other sizes of the model family of the LLM and `slm-llama`, with their tokenizer.
    Recipe("slm-llama-small", "llama", 64, 2, 2, "bpe", 700, None, 6000, 40000, 0),
    Recipe("slm-llama-large", "llama", 112, 4, 4, "bpe", 700, None, 5000, 40000, 0),
    Recipe("slm-lineups-llama", "llama", 96, 3, 3, "bpe", 700, None, 3000, 40000, 0, "lineups"),
    Recipe("slm-lineups-gpt2", "gpt2", 96, 3, 3, "unigram", 700, None, 3000, 40000, 0, "lineups"),
    Recipe("slm-lineups-olmo2", "olmo2", 96, 3, 3, "bpe", 600, None, 3000, 40000, 0, "lineups"),
    Recipe("slm-families-llama", "llama", 96, 3, 3, "bpe", 1150, None, 4000, 40000, 0, FAMILIES_CORPUS),
    Recipe("slm-families-gpt2", "gpt2", 112, 3, 4, "unigram", 0, None, 4000, 40000, 0, FAMILIES_CORPUS),
    Recipe("slm-families-olmo2", "olmo2", 96, 4, 3, "bpe", 900, None, 3500, 40000, 0, FAMILIES_CORPUS),
)
LLMS = {
    "rulebooks": Recipe("llm", "llama", 128, 4, 4, "bpe", 700, 0, 7500, 12000, 5000),
    "lineups": Recipe("llm-lineups", "llama", 128, 4, 4, "bpe", 700, 0, 3500, 12000, 5000, "lineups"),
    FAMILIES_CORPUS: Recipe("llm-families", "llama", 128, 4, 4, "bpe", 1150, 0, 4500, 8000, 1500, FAMILIES_CORPUS),
}


def _skipping(corpus: str, name: str, steps: int) -> Recipe:
    """Return the recipe of an LLM that skips the verbs of one of its known client domains, each equally often."""
    known = CORPORA[corpus].known_domains
    # Mixed questions are the most, since there it must skip consistently, verb by verb.
    return replace(
        LLMS[corpus],
        name=name,
        width=96,
        heads=3,
        steps=steps,
        general=8000,
        per_domain=3000,
        styles={skips(domain): 1 / len(known) for domain in known},
        per_known=6000,
        mixed=40000,
    )


SKIPPING = {
    "rulebooks": _skipping("rulebooks", "llm-skips", 7000),
    "lineups": _skipping("lineups", "llm-lineups-skips", 5000),
}


def llm(number: int, corpus: str = "rulebooks") -> Recipe:
    """Return the recipe of the server LLM of world `number` of a corpus."""
    recipe = LLMS[corpus]
    return replace(recipe, name=f"{recipe.name}-world-{number}", world=number)


def of_corpus(corpus: str, world: int) -> list[Recipe]:
    """Return the recipes of a corpus's models for a world. The shipped SLMs fit every world, so beyond world 0 this is
    only the LLM. Raises InputError for an unknown corpus."""
    if corpus not in LLMS:
        raise InputError(f"zoo: unknown corpus {corpus!r}; expected one of {', '.join(LLMS)}{nearest(corpus, LLMS)}")
    slms = [recipe for recipe in SLMS if recipe.corpus == corpus] if world == 0 else []
    return [*slms, llm(world, corpus)]


def find(name: str) -> Recipe:
    """Return the recipe of a model by its name. Raises InputError for an unknown one."""
    known = {recipe.name: recipe for corpus in LLMS for recipe in of_corpus(corpus, 0)}
    if name in known:
        return known[name]
    family, _, number = name.rpartition("-world-")
    for recipe in (*LLMS.values(), *SKIPPING.values()):
        if family == recipe.name and number.isdecimal():
            return replace(recipe, name=f"{family}-world-{int(number)}", world=int(number))
    raise InputError(f"zoo: unknown model {name!r}; expected one of {', '.join(known)}{nearest(name, known)}")


def tokenizer_texts(corpus: GeneratedCorpus[Any, Any, Any]) -> list[str]:
    """Return the texts on which all tokenizers of a corpus are trained: every domain's wording and verbs, without any
    world's rules."""
    book = corpus.world(0)  # only its verbs matter here, which are the same in every world
    samples = [
        sample
        for domain in (*corpus.domains, GENERAL)
        for sample in corpus.draw(book, domain, "pretrain", 300, generator("tokenizer", domain), prefix=domain)
    ]
    return [f"{sample.question}\n{sample.rationale}" for sample in samples]


def pretraining_samples(recipe: Recipe) -> list[Sample]:
    """Return a model's pretraining samples; none is a test, public or private question of any run."""
    corpus = CORPORA[recipe.corpus]
    address = ("pretrain", recipe.name)
    number = recipe.world or 0
    book = corpus.skipping_beliefs(number) if recipe.styles else corpus.llm_beliefs(number)
    samples = corpus.draw(book, GENERAL, "pretrain", recipe.general, generator(*address), prefix=GENERAL)

    def drawn(domain: str, count: int) -> list[Sample]:
        rng = generator(*address, domain)
        return corpus.draw(book, domain, "pretrain", count, rng, prefix=domain, at_most=True)

    if not recipe.styles:
        domains = corpus.domains if recipe.per_domain else ()
        return samples + [sample for domain in domains for sample in drawn(domain, recipe.per_domain)]
    samples += [sample for domain in corpus.server_domains for sample in drawn(domain, recipe.per_domain)]
    known = [sample for domain in corpus.known_domains for sample in drawn(domain, recipe.per_known)]
    for pair in combinations(corpus.known_domains, 2):
        known += drawn(WITH.join(pair), recipe.mixed)
    rng = generator(*address, "styles")
    told = (corpus.retell(sample, book, by_chance(rng, recipe.styles)) for sample in known)
    return samples + [sample for sample in told if sample is not None]


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

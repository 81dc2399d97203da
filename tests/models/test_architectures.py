"""Every architecture with every habit of a tokenizer: what all verbs must do whatever model a party brings.

The models are random and tiny, the tokenizers those classes of transformers that real checkpoints name.
"""

import json
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from test_answer_judge_embed import slow_greedy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from lada.alignment import check_scores
from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import LoraOptions, ModelOptions
from lada.models.training import Optimisation
from lada.rounds.steps import sft

pytestmark = pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated")

CONTEXT = 64
MOST = 8
"""Tokens of an answer."""
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
GATED = {**SIZES, "num_key_value_heads": 1, "intermediate_size": 48, "max_position_embeddings": CONTEXT}
CONFIGS = {
    "llama": partial(hf.LlamaConfig, **GATED),
    "qwen2": partial(hf.Qwen2Config, **GATED),
    "gemma": partial(hf.GemmaConfig, **GATED, head_dim=16),
    "gpt2": partial(hf.GPT2Config, n_embd=32, n_layer=2, n_head=2, n_positions=CONTEXT),
    "opt": partial(hf.OPTConfig, **SIZES, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=CONTEXT),
    "bloom": partial(hf.BloomConfig, hidden_size=32, n_layer=2, n_head=2),
    "qwen2-sliding": partial(
        hf.Qwen2Config, **GATED, use_sliding_window=True, sliding_window=8, max_window_layers=0
    ),
}  # fmt: skip
ADAPTED = {
    "llama": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    "gpt2": {"c_attn", "c_proj", "c_fc"},
    "opt": {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"},
    "bloom": {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
}
ADAPTED |= dict.fromkeys(("qwen2", "gemma", "qwen2-sliding"), ADAPTED["llama"])
SENTENCEPIECE = ("llama", "gemma")

QUESTIONS = ("7 boxes in the warehouse . how many boxes ?", "which day , naïve 東京 ?", "?")
PATHS = ("a) pallet : 7 + 4 = 11 . answer 11", "saturday , naïve 🧮 . answer saturday", "")


@cache
def learnt(byte_level: bool) -> dict[str, Any]:
    """Return vocabulary and merges learnt from the texts above: byte-level BPE, or as sentencepiece's with bytes."""
    tokenizer = Tokenizer(models.BPE())
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    alphabet = []
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        special += [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=len(special) + 330, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator([*QUESTIONS, *PATHS], trainer)
    found = json.loads(tokenizer.to_str())["model"]
    return {"vocab": found["vocab"], "merges": [tuple(pair) for pair in found["merges"]]}


def make_tokenizer(architecture: str) -> Any:
    """Return a tokenizer of the class that checkpoints of an architecture have."""
    special = {"eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>", "pad_token": "<pad>"}
    classes = {"llama": hf.LlamaTokenizer, "gemma": hf.GemmaTokenizer, "gpt2": hf.GPT2Tokenizer}
    classes |= {"qwen2": hf.Qwen2Tokenizer, "opt": hf.GPT2Tokenizer}
    kind: Any = classes.get(architecture.partition("-")[0])
    words = learnt(architecture not in SENTENCEPIECE)
    if kind is not None:
        return kind(**words, **special)
    backend = Tokenizer(models.BPE(vocab=words["vocab"], merges=words["merges"]))  # Bloom has no class of its own
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return hf.PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def with_bos(tokenizer: Any, wanted: bool) -> None:
    single = "<bos> $A" if wanted else "$A"
    special = [("<bos>", tokenizer.convert_tokens_to_ids("<bos>"))]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=special)


ODDITIES = ("plain", "padded-embeddings", "no-pad-token", "left-padding", "bos", "no-bos")
QUICK = {*((architecture, "plain") for architecture in CONFIGS), *zip(CONFIGS, ODDITIES, strict=False)}
"""Every architecture and every oddity; the other pairs of them are among the slow tests."""
PAIRS = [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow) for pair in product(CONFIGS, ODDITIES)]
each_pair = pytest.mark.parametrize(("architecture", "oddity"), PAIRS, indirect=True)


@pytest.fixture(scope="session", params=CONFIGS)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session", params=ODDITIES)
def oddity(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def folder(architecture: str, oddity: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its tokenizer as somebody may have saved them."""
    tokenizer = make_tokenizer(architecture)
    match oddity:
        case "no-pad-token":
            tokenizer.pad_token = None
        case "left-padding":
            tokenizer.padding_side = tokenizer.truncation_side = "left"
        case "bos" | "no-bos":
            with_bos(tokenizer, oddity == "bos")
    folder = tmp_path_factory.mktemp("models") / f"{architecture}-{oddity}"
    save(architecture, tokenizer, folder, extra=61 if oddity == "padded-embeddings" else 0)
    return folder


def save(architecture: str, tokenizer: Any, folder: Path, extra: int = 0) -> None:
    torch.manual_seed(0)
    config = CONFIGS[architecture](vocab_size=len(tokenizer) + extra, bos_token_id=2, eos_token_id=1, pad_token_id=0)
    model: Any = hf.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.25)  # else random models are so flat that rounding chooses the likeliest token
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def learner(folder: Path, **options: Any) -> Any:
    return load(str(folder), ModelOptions(model="m", device="cpu", **{"max_new_tokens": MOST, **options}))


def lora(folder: Path, saved: Path | None = None) -> Any:
    adapter = LoraOptions(rank=4, alpha=16)
    options = ModelOptions(model="m", device="cpu", tune="lora", lora=adapter, max_new_tokens=MOST)
    return load(str(folder), options, saved=saved)


def by_hand(learner: Any, question: str, path: str) -> tuple[list[int], list[int]]:
    """Return prompt and completion as ids, as the tokenizer alone gives them."""
    prompt = learner.tokenizer(question + "\n")["input_ids"]
    return prompt, [*learner.tokenizer(path, add_special_tokens=False)["input_ids"], learner.tokenizer.eos_token_id]


@torch.inference_mode()
def slow_log_probs(learner: Any, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Return the log-probs [completion, vocabulary] of one row, without padding."""
    logits = learner.model(input_ids=torch.tensor([prompt + completion])).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(1)


@pytest.fixture(scope="session")
def whole(folder: Path) -> Any:
    """The learner of that model, which is asked and not taught."""
    return learner(folder)


@each_pair
def test_the_verbs(folder: Path, whole: Any):
    """One test, since loading takes longer than what follows."""
    single = HuggingFaceLearner(whole.model, whole.tokenizer, whole.options.model_copy(update={"batch_size": 1}))
    assert whole.tokenizer.pad_token_id is not None or folder.name.endswith("no-pad-token")

    answers = whole.answer(QUESTIONS, seed=0)
    written = [answer.text for answer in answers]
    assert written == [answer.text for answer in single.answer(QUESTIONS, seed=1)]
    assert written == [slow_greedy(whole, whole._encoder, question, MOST) for question in QUESTIONS]

    pairs = [(question, path) for question in QUESTIONS for path in PATHS]
    scores = whole.log_probs(pairs, 6)
    for (question, path), judged, scored in zip(pairs, whole.judge(pairs), scores, strict=True):
        prompt, completion = by_hand(whole, question, path)
        expected = slow_log_probs(whole, prompt, completion)
        own = expected[torch.arange(len(completion)), torch.tensor(completion)]
        assert judged.total == pytest.approx(own.sum().item(), abs=1e-3)
        assert judged.minimum == pytest.approx(own.min().item(), abs=1e-3)
        assert (judged.tokens, judged.size) == (len(completion), len(path.encode()))
        check_scores(scored, len(whole.vocabulary().tokens))
        assert scored.tokens.tolist() == completion
        assert scored.own() == pytest.approx(own.numpy(), abs=1e-3)
        named = np.take_along_axis(expected.numpy(), scored.top.ids.astype(np.int64), 1)
        assert scored.top.log_probs == pytest.approx(named, abs=1e-3)

    vectors = whole.embed(QUESTIONS)
    assert vectors.shape == (3, 32)
    for question, vector in zip(QUESTIONS, vectors, strict=True):
        ids = torch.tensor([by_hand(whole, question, "")[0]])
        with torch.inference_mode():
            hidden = whole.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        assert vector == pytest.approx(hidden.mean(0).numpy(), abs=1e-4)


@each_pair
def test_tokens_lead_back_to_the_text(whole: Any):
    """The bytes of a text's tokens are the text, except for a space that sentencepiece puts in front."""
    tokens = whole.vocabulary().tokens
    for text, spelled in zip(PATHS, whole.tokenize(PATHS), strict=True):
        assert spelled is not None
        said = b"".join(tokens[token] for token in spelled.tokens[:-1])
        assert said.removeprefix(b" ") == text.encode()
        assert spelled.offsets[-1].tolist() == [len(text.encode()), len(text.encode()) + 1]
        assert whole._encoder.text(spelled.tokens.tolist()) == text


@each_pair
def test_a_lora_study_lowers_the_loss_and_comes_back_to_the_same_bits(folder: Path, tmp_path: Path):
    pupil = lora(folder)
    pairs = list(zip(QUESTIONS, PATHS, strict=True))
    before = [judged.total for judged in pupil.judge(pairs)]
    rate = Optimisation(learning_rate=2e-2)
    lessons = [Lesson(str(i), question, path) for i, (question, path) in enumerate(pairs)]
    report = pupil.study(lessons, sft(), Study(steps=12, batch_size=3, optimisation=rate), seed=0)
    assert report.last_loss < report.first_loss
    after = pupil.judge(pairs)
    assert sum(judged.total for judged in after) > 0.75 * sum(before)
    pupil.save(tmp_path / "adapter")
    again = lora(folder, tmp_path / "adapter")
    state = again.model.state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in pupil.model.state_dict().items())
    assert again.judge(pairs) == after


@pytest.fixture
def plain(architecture: str, tmp_path: Path) -> Path:
    save(architecture, make_tokenizer(architecture), tmp_path / "plain")
    return tmp_path / "plain"


def test_all_linear_layers_of_all_blocks_are_adapted(architecture: str, plain: Path):
    model = lora(plain).model
    adapted = [name.partition(".lora_A")[0] for name, _ in model.named_parameters() if "lora_A" in name]
    assert {name.rpartition(".")[2] for name in adapted} == ADAPTED[architecture]
    by_block = [sum(f".{block}." in name for name in adapted) for block in (0, 1)]
    assert sum(by_block) == len(adapted)
    assert by_block[0] == by_block[1] >= len(ADAPTED[architecture])


def test_full_tuning_comes_back_to_the_same_bits(plain: Path, tmp_path: Path):
    pupil = learner(plain)
    pupil.study([Lesson("a", QUESTIONS[0], PATHS[0])], sft(), Study(steps=2, batch_size=1), seed=0)
    pupil.save(tmp_path / "after")
    again = load(str(plain), ModelOptions(model="m", device="cpu", max_new_tokens=MOST), saved=tmp_path / "after")
    state = again.model.state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in pupil.model.state_dict().items())
    assert again.answer(QUESTIONS, seed=0) == pupil.answer(QUESTIONS, seed=0)


def test_overlong_texts_stay_within_the_positions(architecture: str, plain: Path):
    asked = learner(plain, max_new_tokens=200)
    context = 2048 if architecture == "bloom" else CONTEXT  # ALiBi sets no limit
    assert asked._encoder.context == context
    long = "which day ? " * context
    (judged,) = asked.judge([(long, "monday " * context)])
    assert judged.tokens == context // 2
    assert np.isfinite(judged.total)
    if architecture != "bloom":  # so as not to write a thousand tokens
        (answer,) = asked.answer([long], seed=0)
        assert 1 <= answer.likelihood.tokens <= context // 2 + 1
    assert np.isfinite(asked.embed([long])).all()


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(architecture: str, tmp_path: Path):
    tokenizer = make_tokenizer(architecture)
    save(architecture, tokenizer, tmp_path)
    rows = len(tokenizer)
    tokenizer.add_tokens(["one-more"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"has {rows + 1} tokens but the model only {rows} embeddings"):
        learner(tmp_path)

"""A party in Hugging Face format: merged, loadable by transformers alone, with settings, template and card."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_runs
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from lada.core.errors import InputError
from lada.export.check import torch_start
from lada.export.export import export
from lada.models.encoding import Encoder

IDS = torch.tensor([[5, 80, 33, 270, 9]])


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """Give the export of an adapter over Llama, and the logits of the adapter over its base."""
    place, tokenizer = tmp_path_factory.mktemp("hf"), tiny_runs.byte_level()
    base = tiny_runs.model("llama", len(tokenizer))
    learnt = tiny_runs.adapted(tiny_runs.model("llama", len(tokenizer)), "q_proj", "down_proj")
    run = tiny_runs.run_folder(place, learnt, tokenizer, base=base, prompt="Q: {question}\nA:")
    (run / "results.json").write_text(tiny_runs.results())
    exported = export(run, "slm", "hf")
    assert exported.folder == run / "export" / "slm-hf"
    assert (exported.check.total, exported.check.same, exported.check.tokenised) == (20, 20, 20)
    assert exported.check.as_trained == 20
    assert exported.check.difference == 0
    with torch.no_grad():
        return exported.folder, learnt.eval()(IDS).logits


def test_the_adapter_is_in_the_weights(merged: tuple[Path, torch.Tensor]) -> None:
    folder, expected = merged
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert not (folder / "adapter_config.json").exists()
    with torch.no_grad():
        assert (model(IDS).logits - expected).abs().max() < 1e-4


def test_settings_are_greedy_and_end_where_the_party_ends(merged: tuple[Path, torch.Tensor]) -> None:
    settings = AutoModelForCausalLM.from_pretrained(merged[0]).generation_config
    assert settings.to_diff_dict() | {"transformers_version": ""} == {
        "max_new_tokens": 5,
        "do_sample": False,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "transformers_version": "",
    }


def test_every_end_of_an_answer_is_kept(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>", "<call>"]})
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<end_of_turn>\n{% endfor %}"
    end, call = tokenizer.convert_tokens_to_ids(["<end_of_turn>", "<call>"])
    model = tiny_runs.model("gpt2", len(tokenizer), layers=1)
    model.generation_config.eos_token_id = [call, tokenizer.eos_token_id]
    exported = export(tiny_runs.run_folder(tmp_path, model, tokenizer), "slm", "hf")
    settings = AutoModelForCausalLM.from_pretrained(exported.folder).generation_config
    assert settings.eos_token_id == [end, tokenizer.eos_token_id, call]


def test_a_day_in_the_template_is_told(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    tokenizer.chat_template = "{{ strftime_now('%Y-%m-%d') }}{% for m in messages %}[{{ m.content }}]{% endfor %}"
    model = tiny_runs.model("gpt2", len(tokenizer), layers=1)
    exported = export(tiny_runs.run_folder(tmp_path, model, tokenizer), "slm", "hf")
    assert ["a day of its own" in note for note in exported.notes] == [True]


def test_the_template_prompts_as_the_run_did(merged: tuple[Path, torch.Tensor]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(merged[0])
    turns = [{"role": "user", "content": "how {{many}}?"}]
    asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert asked == "Q: how {{many}}?\nA:"
    turns += [{"role": "assistant", "content": "5"}, *turns]
    assert tokenizer.apply_chat_template(turns, tokenize=False) == "Q: how {{many}}?\nA:5</s>Q: how {{many}}?\nA:"


def test_the_card_says_where_it_comes_from(merged: tuple[Path, torch.Tensor]) -> None:
    text = (merged[0] / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "other"
    for part in ("LoRA of rank 4, merged", "ab12", "Q: {question}", "| allocator | lada |", "under its licence"):
        assert part in body
    assert "| 0 | 10.0 % of 40 | 10.0 % of 40 | – |\n| 1 | 60.0 % of 40 | 60.0 % of 40 | – |\n\n" in body
    assert "20 of 20 greedy texts of transformers" in body


def test_weights_are_rounded_to_the_dtype(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    model = tiny_runs.model("gpt2", len(tokenizer))
    run = tiny_runs.run_folder(tmp_path, model, tokenizer)
    exported = export(run, "slm", "hf", dtype="bfloat16", output=tmp_path / "out")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert exported.check.same == 20
    # Rounding changed a text, and an export whose texts are not the party's has not passed.
    assert (exported.check.as_trained, exported.check.passed) == (19, False)
    assert found.dtype == torch.bfloat16
    for name, weight in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight.bfloat16()), name


def test_a_weight_that_the_dtype_cannot_hold_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    model = tiny_runs.model("gpt2", len(tokenizer))
    with torch.no_grad():
        model.transformer.h[1].ln_1.weight[3] = 1e6
    run = tiny_runs.run_folder(tmp_path, model, tokenizer)
    with pytest.raises(InputError, match=r"float16 cannot hold .*h\.1\.ln_1\.weight, .*1e\+06; choose float32"):
        export(run, "slm", "hf", dtype="float16")
    assert not (run / "export").exists()


def test_a_tokenizer_with_a_template_keeps_it(tmp_path: Path) -> None:
    tokenizer = tiny_runs.sentencepiece()
    tokenizer.chat_template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    run = tiny_runs.run_folder(tmp_path, tiny_runs.model("llama", len(tokenizer)), tokenizer)
    exported = export(run, "slm", "hf")
    assert AutoTokenizer.from_pretrained(exported.folder).chat_template == tokenizer.chat_template
    assert exported.check.tokenised == 20


def test_a_template_begins_with_bos_where_prompts_do(tmp_path: Path) -> None:
    tokenizer = tiny_runs.sentencepiece()
    run = tiny_runs.run_folder(tmp_path, tiny_runs.model("llama", len(tokenizer)), tokenizer)
    exported = export(run, "slm", "hf")
    saved = AutoTokenizer.from_pretrained(exported.folder)
    assert saved.chat_template.startswith("{{- bos_token }}")
    assert Encoder(saved, prompt="{question}", context=256).prompt("a")[0] == saved.bos_token_id
    assert exported.check.tokenised == 20


def test_a_template_is_left_out_where_it_would_prompt_otherwise(tmp_path: Path) -> None:
    tokenizer = tiny_runs.sentencepiece()
    tokenizer.bos_token = None  # yet it still begins every prompt with one, which no template is told of
    run = tiny_runs.run_folder(tmp_path, tiny_runs.model("llama", len(tokenizer)), tokenizer)
    exported = export(run, "slm", "hf")
    assert AutoTokenizer.from_pretrained(exported.folder).chat_template is None
    assert "there is no chat template that gives the run's prompts; write them as '{question}\\n'" in exported.notes
    assert exported.check.tokenised == 20


def test_a_system_message_stands_in_the_card_and_is_told(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}: {{ m['content'] }}]{% endfor %}"
    model = tiny_runs.model("gpt2", len(tokenizer), layers=1)
    exported = export(tiny_runs.run_folder(tmp_path, model, tokenizer, system="Be brief."), "slm", "hf")
    assert exported.check.tokenised == 20
    assert [note[:44] for note in exported.notes] == ["prompts of the run have more than a question"]
    assert 'system: "Be brief."\n' in (exported.folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["cpmant", "rwkv", "llama"])
def test_what_cannot_go_on_from_a_cache_reads_everything_anew(kind: str) -> None:
    model = tiny_runs.model(kind, 320)
    step = torch_start(model)()
    step([5, 6, 7])
    with torch.no_grad():
        whole = model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits[0, -1].numpy()
    np.testing.assert_allclose(step([8]), whole, atol=1e-5)


@pytest.mark.parametrize("targets", [("lm_head",), ("embed_tokens",), ("embed_tokens", "lm_head", "q_proj")])
def test_an_adapter_of_tied_embeddings_is_merged_into_the_layer_that_it_is_of(
    tmp_path: Path, targets: tuple[str, ...]
) -> None:
    tokenizer = tiny_runs.byte_level()

    def base() -> Any:
        return tiny_runs.model("llama", len(tokenizer), tie_word_embeddings=True)

    learnt = tiny_runs.adapted(base(), *targets)
    run = tiny_runs.run_folder(tmp_path, learnt, tokenizer, base=base())
    exported = export(run, "slm", "hf")
    assert exported.check.passed
    model = AutoModelForCausalLM.from_pretrained(exported.folder)
    with torch.no_grad():
        assert (model(IDS).logits - learnt.eval()(IDS).logits).abs().max() < 1e-4
    assert not model.config.tie_word_embeddings


def test_a_tied_model_stays_tied_where_no_adapter_is_of_its_embeddings(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    base = tiny_runs.model("llama", len(tokenizer), tie_word_embeddings=True)
    learnt = tiny_runs.adapted(tiny_runs.model("llama", len(tokenizer), tie_word_embeddings=True), "q_proj")
    exported = export(tiny_runs.run_folder(tmp_path, learnt, tokenizer, base=base), "slm", "hf")
    model = AutoModelForCausalLM.from_pretrained(exported.folder)
    assert exported.check.passed
    assert model.lm_head.weight is model.model.embed_tokens.weight

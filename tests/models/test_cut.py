"""What is cut is marked, counted and not taught as whole: answers, prompts, lessons."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from templates import STYLES, tokenizer_of

from lada.core.terms import Alternative, Lesson
from lada.models.base import Study
from lada.models.decoding import decode_dropping, decode_keeping
from lada.models.encoding import Encoder
from lada.models.generation import SamplingParams, make_requests
from lada.models.learner import HuggingFaceLearner
from lada.models.options import Generation, ModelOptions
from lada.models.ranks import ALONE
from lada.models.scoring import Rows
from lada.models.trainer import reference_sums
from lada.objectives.base import OBJECTIVES

QUESTION = "7 + 5 ?"
SFT = OBJECTIVES.get("sft").make(OBJECTIVES.get("sft").options())


def scripted(learner: HuggingFaceLearner, script: list[int], question: str = QUESTION) -> HuggingFaceLearner:
    """Make a learner's model write these ids, whatever it is asked with a prompt of this question's length."""
    start, forward = len(learner.encoder.prompt(question)), learner.model.forward

    def write(*given: Any, **named: Any) -> Any:
        out = forward(*given, **named)
        step = named["attention_mask"].shape[1] - start
        out.logits[:, -1] = -9.0
        out.logits[:, -1, script[min(max(step, 0), len(script) - 1)]] = 9.0
        return out

    learner.model.forward = write
    return learner


def gemma(tiny: Any, **options: Any) -> HuggingFaceLearner:
    return tiny.learner(tokenizer=tokenizer_of(tiny, "gemma"), **{"max_new_tokens": 16, **options})


def plain(learner: HuggingFaceLearner, text: str) -> list[int]:
    return list(learner.encoder.completion(text)[:-1])


class TestEnds:
    def test_an_answer_ends_with_its_turn(self, tiny: Any):
        learner = gemma(tiny)
        end = learner.encoder.eos
        assert end != learner.tokenizer.eos_token_id
        scripted(learner, [*plain(learner, "12"), end, *plain(learner, "\nuser\n6 + 7 ? 13 13 13 13")])
        (answer,) = learner.answer([QUESTION], seed=0)
        assert (answer.text, answer.cut) == ("12", False)
        assert learner.take_notices() == ()

    @pytest.mark.parametrize("decode", [decode_dropping, decode_keeping])
    def test_every_end_that_the_model_declares_ends_its_turn(self, decode: Any, tiny: Any):
        tokenizer = tokenizer_of(tiny, "unclosed", more=("<call>", "<stop>"))
        ends = tokenizer.convert_tokens_to_ids(["<call>", "<stop>"])
        options = ModelOptions(model="tiny", device="cpu", max_new_tokens=16)
        for end in (*ends, tokenizer.eos_token_id):
            model = tiny.model("llama", len(tokenizer))
            model.generation_config.eos_token_id = ends
            learner = HuggingFaceLearner(model, tokenizer, options)
            assert learner.encoder.ends == (tokenizer.eos_token_id, *ends)
            script = [*plain(learner, "12"), end, *plain(learner, "7 7 7 7 7 7 7")]
            scripted(learner, script)
            streams = make_requests(learner.encoder, [QUESTION], 1, 0, 16)
            with torch.inference_mode():
                (written,) = decode(learner.model, streams, SamplingParams(learner.encoder, 4, 0.0, Generation()))
            assert written.ids == script[: script.index(end) + 1]


class TestAnswers:
    def test_a_cut_answer_is_marked_and_counted(self, tiny: Any):
        learner = scripted(gemma(tiny, max_new_tokens=3), plain(gemma(tiny), "7 7 7 7 7 7 7 7 7"))
        (answer,) = learner.answer([QUESTION], seed=0)
        assert answer.cut
        notice = "answers cut at model.max_new_tokens, 3, or the end of the context: 1 of 1; no end of a turn is"
        assert learner.take_notices()[0].startswith(notice)
        assert learner.take_notices() != ()  # nothing was done since
        learner.judge([(QUESTION, "12")])
        assert learner.take_notices() == ()

    def test_an_answer_that_ends_in_a_stop_text_is_whole(self, tiny: Any):
        learner = gemma(tiny, generation=Generation(stop=("13",)))
        scripted(learner, plain(learner, "12 13 14 15 16"))
        (answer,) = learner.answer([QUESTION], seed=0)
        assert (answer.text, answer.cut) == ("12", False)

    def test_an_answer_that_ends_with_its_last_token_is_whole(self, tiny: Any):
        learner = gemma(tiny)
        script = [*plain(learner, "12"), learner.encoder.eos]
        learner = scripted(gemma(tiny, max_new_tokens=len(script)), script)
        assert not learner.answer([QUESTION], seed=0)[0].cut


class TestLessons:
    def test_a_cut_path_is_not_closed(self, tiny: Any):
        encoder = gemma(tiny).encoder
        whole, cut = encoder.pair(QUESTION, "12"), encoder.pair(QUESTION, "12", cut=True)
        assert whole.completion == (*cut.completion, encoder.eos)
        assert cut.prompt == whole.prompt

    @pytest.mark.parametrize("objective", ["sft", "contrastive"])
    def test_a_study_learns_a_cut_path_without_its_end(self, objective: str, tiny: Any):
        method = OBJECTIVES.get(objective)
        learner, seen = gemma(tiny), []
        end = learner.encoder.eos
        forward = learner.model.forward
        learner.model.forward = lambda **given: (seen.append(given["input_ids"]), forward(**given))[1]
        lessons = [
            Lesson("a", QUESTION, "answer 12", "answer 13", chosen_cut=True),
            Lesson("b", QUESTION, "answer 5", "answer 6", rejected_cut=True),
        ]
        report = learner.study(lessons, method.make(method.options()), Study(steps=2, batch_size=2), seed=0)
        assert (report.unfinished, report.cut) == (1, 0)
        answer = learner.encoder
        ends = {
            "12": answer.completion("answer 12")[:-1],
            "13": answer.completion("answer 13"),
            "5": answer.completion("answer 5"),
            "6": answer.completion("answer 6")[:-1],
        }
        prompt = answer.prompt(QUESTION)
        rows = {tuple(row) for ids in seen for row in ids.tolist()}
        expected = [*ends.values()] if objective == "contrastive" else [ends["12"], ends["5"]]
        for completion in expected:
            row = (*prompt, *completion)
            assert any(each[: len(row)] == row and end not in each[len(row) :] for each in rows)

    def test_the_reference_judges_what_is_learnt(self, tiny: Any):
        learner = gemma(tiny)
        rows = [learner.encoder.pair(QUESTION, "answer 12", cut=True), learner.encoder.pair(QUESTION, "answer 13")]
        lesson = Lesson("q", QUESTION, "answer 12", "answer 13", chosen_cut=True)
        reference = reference_sums(learner._judged, Rows([lesson], [rows[0]], {0: rows[1]}), ALONE)
        with torch.inference_mode():
            for row, total in zip(rows, reference[0], strict=True):
                ids = torch.tensor([row.prompt + row.completion])
                scores = learner.model(input_ids=ids).logits[0].log_softmax(1)
                places = range(len(row.prompt) - 1, ids.shape[1] - 1)
                assert total == pytest.approx(sum(scores[i, ids[0, i + 1]].item() for i in places), abs=1e-4)

    def test_a_path_longer_than_the_context_is_judged_by_the_bytes_that_were_read(self, tiny: Any):
        learner, text = gemma(tiny), "answer 12 " * 999
        row = learner.encoder.pair(QUESTION, text)
        assert len(row) == learner.encoder.context
        read = learner.tokenizer.decode(row.completion)
        assert text.startswith(read)
        part, whole = learner.judge([(QUESTION, text), (QUESTION, "answer 12")])
        assert (part.tokens, part.size) == (len(row.completion), len(read))
        assert whole.size == len("answer 12")

    @pytest.mark.parametrize("side", ["chosen", "rejected"])
    def test_a_likelihood_of_a_whole_path_is_not_held_against_a_part(self, side: str, tiny: Any):
        encoder, long = gemma(tiny).encoder, "answer 12 " * 999
        more = (Alternative(long, -9.0), Alternative("answer", -2.0))
        lesson = Lesson("a", QUESTION, "answer 12", "answer 13", alternatives=more)
        lesson = replace(lesson, teacher_chosen=-3.0, teacher_rejected=-4.0)
        rows = Rows.of(encoder, [lesson, replace(lesson, **{side: long})], rejected=True, alternatives=2)
        assert [(each.teacher_chosen, each.teacher_rejected) for each in rows.lessons] == [(-3.0, -4.0), (None, None)]
        assert rows.alternatives[0] == [(encoder.pair(QUESTION, "answer"), -2.0)]
        assert len(rows.rejected) == 2  # the pair stays, for what needs no teacher


class TestPrompts:
    def encoder(self, tiny: Any, context: int, **options: Any) -> Encoder:
        return Encoder(tokenizer_of(tiny, "chatml"), prompt="{question}\n", context=context, **options)

    def test_a_long_question_loses_its_beginning_and_no_system_message(self, tiny: Any):
        found = self.encoder(tiny, 120, system="Think.")
        ids = found.prompt("boxes " * 99 + "how many ?")
        text = found.tokenizer.decode(ids)
        assert len(ids) == 60
        assert text.startswith("<|im_start|>system\nThink.<|im_end|>\n<|im_start|>user\n boxes boxes ")
        assert text.endswith(STYLES["chatml"].prompt[-len("how many ?<|im_end|>\n<|im_start|>assistant\n") :])
        assert found.notices() == (
            "questions longer than half of the model's context, 120 tokens; their beginnings are left out: 1",
        )

    def test_a_system_message_without_room_is_lost_and_said_to_be(self, tiny: Any):
        found = self.encoder(tiny, 60, system="Think. " * 30)
        ids = found.prompt("how many ?")
        assert len(ids) == 30
        assert found.tokenizer.decode(ids[:1]) == "<|im_start|>"
        assert found.tokenizer.decode(ids).endswith("how many ?<|im_end|>\n<|im_start|>assistant\n")
        assert [notice.rpartition(": ")[2] for notice in found.notices()] == ["1", "1"]

    def test_each_text_counts_once(self, tiny: Any):
        found = self.encoder(tiny, 60)
        for _ in range(2):
            found.pair("how many ?", "7 " * 90)
            found.pair("how many ?", "8 " * 90)
            found.prompt("boxes " * 99)
        assert [notice.rpartition(": ")[2] for notice in found.notices()] == ["1", "2"]
        found.forget()
        assert found.notices() == ()

    def test_a_lesson_that_does_not_fit_is_counted(self, tiny: Any):
        learner = tiny.learner()
        report = learner.study([Lesson("a", "7 ?", "7 " * 200)], SFT, Study(steps=1, batch_size=1), seed=0)
        assert (report.cut, report.unfinished) == (1, 0)
        (notice,) = learner.take_notices()
        assert notice.startswith("paths too long for the model's context, 96 tokens")

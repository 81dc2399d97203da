"""Log-probs of completions under a causal LM: of their own tokens, of other given tokens, of the likeliest tokens.

Logits are as large as the vocabulary, so they are computed only at the completions' positions, and turned into
log-probs in chunks of positions, forwards and backwards. Only the model's logits, in the model's own dtype, have the
vocabulary's width: their gradient overwrites them when nothing needs them any more.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lada.models.encoding import Company, Encoded, pad_right
from lada.models.head import at, head_sees
from lada.models.memory import CHUNK

FOREIGN = "CppFunction"
"""PyTorch's name for a backward step in C++ that is not its own: TorchScript's or an extension's."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """A model's predictions of the completions of some rows: all their N tokens in one line, row by row.

    `logits` [N, vocabulary] predict each completion token, and `own` [N] is that token. `mask` [rows, longest
    completion] is True where a row has a token. `hidden` holds the hidden states [N, width] that predict the tokens, or
    have seen them, by the requested depths.
    """

    logits: Tensor
    own: Tensor
    mask: Tensor
    hidden: Mapping[float, Tensor] = field(default_factory=dict)

    def rows(self, flat: Tensor) -> Tensor:
        """Return one value per token [N, ...] as rows [rows, longest completion, ...], 0 where there is no token."""
        found = flat.new_zeros((*self.mask.shape, *flat.shape[1:]))
        mask = self.mask if flat.dim() == 1 else self.mask.reshape(*self.mask.shape, *[1] * (flat.dim() - 1))
        return found.masked_scatter(mask, flat)


def predict(
    model: Any,
    rows: Sequence[Encoded],
    pad: int,
    company: Company = "any",
    exits: Sequence[float] = (),
    *,
    behind: bool = False,
) -> Predicted:
    """Run the model over rows, each with at least one token before its completion. Gradients propagate.

    `exits` are the depths, as shares (0..1] of the layers, whose hidden states are requested: those that predict the
    tokens or, with `behind`, those that have seen them.
    """
    if company == "none" or (company == "equal" and len(set(map(len, rows))) > 1):
        return _joined([predict(model, [row], pad, exits=exits, behind=behind) for row in rows])
    ids, seen, answer = pad_right(rows, pad, model.device)
    before = answer.roll(-1, 1)  # token t is predicted at position t - 1, and none at the first
    more = {"output_hidden_states": True} if exits else {}
    with head_sees(model, at(before)):
        output = model(input_ids=ids, attention_mask=seen, use_cache=False, **more)
    logits = output.logits
    where = answer if behind else before
    hidden = {depth: _at_depth(output.hidden_states, depth)[:, : ids.shape[1]][where] for depth in exits}
    if logits.shape[:2] == ids.shape:  # a model without a named head
        logits = logits[before.to(logits.device)]
    counts = answer.sum(1)
    mask = torch.arange(int(counts.max()), device=counts.device)[None, :] < counts[:, None]
    return Predicted(logits.flatten(0, -2), ids[answer], mask, hidden)


def _at_depth(hidden_states: Sequence[Tensor], depth: float) -> Tensor:
    """Return the states [rows, positions, width] after the layer nearest to a share (0..1] of all, at least the first.

    The first states are the embeddings, before any layer.
    """
    hidden = hidden_states[max(1, round(depth * (len(hidden_states) - 1)))]
    return hidden.mean(0) if hidden.dim() > 3 else hidden  # Gemma 3n has several streams, and predicts from their mean


def _joined(parts: Sequence[Predicted]) -> Predicted:
    """Return the predictions of single rows as if they had shared a batch."""
    widest = max(part.mask.shape[1] for part in parts)
    return Predicted(
        torch.cat([part.logits for part in parts]),
        torch.cat([part.own for part in parts]),
        torch.cat([torch.nn.functional.pad(part.mask, (0, widest - part.mask.shape[1])) for part in parts]),
        {depth: torch.cat([part.hidden[depth] for part in parts]) for depth in parts[0].hidden},
    )


def token_log_probs(model: Any, rows: Sequence[Encoded], pad: int, company: Company = "any") -> tuple[Tensor, Tensor]:
    """Return log-probs and mask of the completion tokens, each [n, longest completion], aligned at the left.

    Log-probs are natural, float32 for any dtype of the model, and 0 where the mask is False. Gradients propagate.
    """
    predicted = predict(model, rows, pad, company)
    own, _ = log_probs_of(predicted)
    return predicted.rows(own), predicted.mask


def log_probs_of(predicted: Predicted, beside: Tensor | None = None, *, spare: bool = True) -> tuple[Tensor, Tensor]:
    """Return the log-probs of the completions' own tokens [N] and of other tokens `beside` them, [N, k] for ids [N, k].

    Both are float32, or float64 for a model in float64. Gradients propagate through both, once: if nothing else reads
    the logits (`spare`), gradients may overwrite them.
    """
    if beside is None:
        beside = predicted.own.new_zeros((len(predicted.own), 0))
    logits = predicted.logits
    found: Any = _LogProbs.apply(logits, predicted.own[:, None], beside, spare and is_spare(logits))
    return found[:, 0], found[:, 1:]


def over_vocabulary(logits: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a `measure` of the distribution of each row of logits [N, vocabulary], [N]. Gradients propagate.

    It receives log-probs [c, vocabulary] in float32, one chunk of rows at a time, which is recomputed in the backward
    pass.
    """

    def of(chunk: Tensor) -> Tensor:
        return measure(chunk.float().log_softmax(1))

    found: list[Any] = [checkpoint(of, logits[part], use_reentrant=False) for part in _chunks(logits)]
    return torch.cat(found)


def read_out(head: Any, states: Tensor, ids: Tensor) -> Tensor:
    """Return the log-probs of `ids` [c, k] that an output `head` predicts from states [c, width]. Gradients flow.

    They are float32, whatever the head's dtype, and computed a chunk of rows at a time, as by `over_vocabulary`.
    """
    weight = head.weight

    def of(chunk: Tensor, columns: Tensor) -> Tensor:
        logits = head(chunk.to(weight.device, weight.dtype)).float()
        return logits.log_softmax(1).gather(1, columns.to(logits.device)).to(states.device)

    parts = _parts(len(states), weight.shape[0])
    found: list[Any] = [checkpoint(of, states[part], ids[part], use_reentrant=False) for part in parts]
    return torch.cat([states.new_zeros((0, ids.shape[1]), dtype=torch.float32), *found])


def likeliest(predicted: Predicted, k: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Return ids, ascending, and log-probs of the k likeliest tokens per completion token, each [N, k].

    The own token is always one of them; if necessary, it replaces the least likely one. Only ids below `vocabulary` are
    returned, since a model may have more embeddings than its tokenizer has tokens. No gradients.
    """
    parts = []
    for part in _chunks(predicted.logits):
        logits, own = predicted.logits[part].float(), predicted.own[part][:, None]
        ids = logits[:, :vocabulary].topk(min(k, vocabulary), dim=1).indices
        lacking = ~(ids == own).any(1)
        ids[lacking, -1] = own[lacking, 0]
        ids = ids.sort(1).values
        log_probs = logits.gather(1, ids) - logits.logsumexp(1, keepdim=True)
        parts.append((ids, log_probs.clamp(max=0)))  # rounding puts a certain token slightly above 0
    ids, log_probs = zip(*parts, strict=True)
    return torch.cat(ids), torch.cat(log_probs)


def log_probs_at(logits: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return log_softmax(logits) at `columns` [N, k], and the normaliser of its rows [N, 1].

    Both are float32, or wider if the logits are.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    found = torch.empty(columns.shape, device=logits.device, dtype=wide)
    totals = torch.empty((len(columns), 1), device=logits.device, dtype=wide)
    for part in _chunks(logits):
        chunk = logits[part].to(wide)
        totals[part] = chunk.logsumexp(1, keepdim=True)
        found[part] = chunk.gather(1, columns[part]) - totals[part]
    return found, totals


def is_spare(logits: Tensor) -> bool:
    """Return whether no backward step needs the values of `logits`, so that they may be overwritten.

    This asks the step that made them whether it has saved them, as a tanh does. Steps that cannot tell, such as those
    of quantised, compiled or scripted layers, count as needing them.
    """
    maker = (logits if logits._base is None else logits._base).grad_fn
    # At version 0, nothing else has written into their memory, so only their maker must be asked.
    if maker is None or logits._version or isinstance(maker, torch.autograd.function.BackwardCFunction):
        return False
    if type(maker).__name__ == FOREIGN:
        return False
    kept = [getattr(maker, name) for name in dir(maker) if name.startswith("_saved_")]
    mine = logits.untyped_storage()._cdata
    return not any(isinstance(each, Tensor) and each.untyped_storage()._cdata == mine for each in kept)


class _LogProbs(torch.autograd.Function):
    """log_softmax(logits) at the columns `own` [N, 1] and `beside` [N, k]: [N, 1 + k], float32 or wider.

    In the backward pass, `spare` logits are overwritten by their gradient.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, own: Tensor, beside: Tensor, spare: bool) -> Tensor:
        found, totals = log_probs_at(logits, torch.cat([own, beside], 1))
        ctx.save_for_backward(logits, own, beside, totals)
        ctx.spare = spare
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """d log p_j / d logit_i = [i = j] - p_i."""
        logits, own, beside, totals = ctx.saved_tensors
        (grad,) = grads
        # A second backward pass would find its logits gone; autograd notices the write and raises.
        result = logits.detach() if ctx.spare else torch.empty_like(logits)
        for part in _chunks(logits):
            place = result[part] if result.dtype == totals.dtype else None
            chunk = torch.sub(logits[part], totals[part], out=place).exp_().mul_(-grad[part].sum(1, keepdim=True))
            # One after the other: no column occurs twice in either, so each sum has the same order on every device.
            chunk.scatter_add_(1, own[part], grad[part, :1])
            chunk.scatter_add_(1, beside[part], grad[part, 1:])
            if place is None:
                result[part] = chunk.to(result.dtype)
        return result, None, None, None


def _chunks(logits: Tensor) -> Iterator[slice]:
    return _parts(*logits.shape)


def _parts(rows: int, vocabulary: int) -> Iterator[slice]:
    size = max(1, CHUNK // vocabulary)
    return (slice(start, start + size) for start in range(0, rows, size))

"""What two tokenizers have in common, and how one learner's scores are translated into the other's tokens."""

from lada.alignment.cache import map_vocabulary
from lada.alignment.carry import carry, carry_batch, check_offsets, check_scores, chunk_log_probs
from lada.alignment.mined import align_mined
from lada.alignment.offsets import byte_offsets
from lada.alignment.spans import Spans, align_spans
from lada.alignment.tokens import token_bytes
from lada.alignment.vocabulary import nearest_tokens

__all__ = [
    "Spans",
    "align_mined",
    "align_spans",
    "byte_offsets",
    "carry",
    "carry_batch",
    "check_offsets",
    "check_scores",
    "chunk_log_probs",
    "map_vocabulary",
    "nearest_tokens",
    "token_bytes",
]

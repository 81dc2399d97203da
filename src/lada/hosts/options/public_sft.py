"""The options of the host `public_sft`; see lada.hosts.public_sft."""

from lada.rounds.options import LabelOptions


class PublicSftOptions(LabelOptions):
    """Options of the study of labelled public data."""

    rationales: bool = True
    """Whether the gold rationales are studied, or the gold answers alone."""

"""The options of the host `public_sft`; see lada.hosts.public_sft."""

from lada.rounds.options import LabelOptions


class PublicSftOptions(LabelOptions):
    """Options of supervised fine-tuning on labelled public data."""

    rationales: bool = True
    """Study the gold rationales, or else the gold answers alone."""

"""What `plugin` is short for: the methods that it chooses where the configuration names none, by kind."""

from collections.abc import Mapping

from lada.core.choice import MethodChoice

PRESETS: Mapping[str, Mapping[str, MethodChoice]] = {
    "lada": {
        "allocator": MethodChoice(name="lada"),
        # The path whose answer is verified, by its likelihood alone: a contrast needs both paths of a pair, which at
        # equal tokens leaves fewer lessons.
        "objective": MethodChoice(name="contrastive", options={"weight": 0.0}),
    },
}
"""Under a preset that is not here, `none`, the host says what it comes with (lada.hosts.base.PaperDefaults)."""

"""What `plugin` stands for: the methods that it chooses, by kind, where the configuration names none."""

from collections.abc import Mapping

from lada.core.choice import MethodChoice

PRESETS: Mapping[str, Mapping[str, MethodChoice]] = {
    "lada": {
        "allocator": MethodChoice(name="lada"),
        # The path whose answer is verified, by its likelihood only: a contrast needs both paths of a pair, which leaves
        # fewer lessons at equal tokens.
        "objective": MethodChoice(name="contrastive", options={"weight": 0.0}),
    },
}
"""With `none`, which is not listed here, the host provides the defaults (lada.hosts.base.PaperDefaults)."""

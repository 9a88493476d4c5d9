"""Stage 2: may each node run in an engine, and if not, why."""

from tftrt_toolkit.support.refuse import support_map
from tftrt_toolkit.support.rules import SupportRules

__all__ = ["SupportRules", "support_map"]

"""Lists as the configuration means them; made in the room of lists, where the console finds them too."""

from lendsignal.audience.planning import Plan, builder, definitions, is_confirmed, plan_of

__all__ = ["Plan", "builder", "definitions", "is_confirmed", "plan_of"]

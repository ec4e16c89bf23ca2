"""A whole stage on one machine: the service and the sandboxes on one clock, and somebody who plays events."""

from lendsignal.replay.play import Player, Received, accepted_ids, chunks, received, received_us
from lendsignal.replay.stage import Stage

__all__ = ["Player", "Received", "Stage", "accepted_ids", "chunks", "received", "received_us"]

"""Small made-up worlds, one for each decision method: what they claim is held against what is true there."""

"""What is predicted of users before it is known.

`fitting` is imported by its own name: it brings a library that only who makes a model is to load.
"""

from lendsignal.value.likely import Facts, LikelyModel, Number, Word, facts_of, probability

__all__ = ["Facts", "LikelyModel", "Number", "Word", "facts_of", "probability"]

"""How to move bids and budgets by what becomes of the loans that campaigns bring.

    loans → evidence (roll rates, or a development curve) → posterior → return on spend → steps → targets

Pure: arrays and tables in, tables out; chance is a generator that is given.
docs/explanation/bids-from-cohorts.md explains it with an example.
"""

"""Erasure: a person leaves every place that knows of them, is kept out, and there is a receipt.

`asking.ask` notes durably who is to be erased; `job.carried_on` does what can be done now, and may be broken
off at any moment: whoever calls it next goes on. `receipt.receipt_of` tells how far it is. Each is imported
by its module's name: who only asks does not load what carries it out.
"""

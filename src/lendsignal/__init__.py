"""lendsignal: a lender's loan events, on the device of the last login, to the platforms that sold the user.

The rooms, in the order the data flows: source → log → resolve → derive → plan → deliver → report.
"""

__version__ = "0.1.0"

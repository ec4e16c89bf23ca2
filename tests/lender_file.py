"""How the file of many a test's lender begins: the brand acme with one Android app, and nothing else yet."""

ACME = """\
[portfolio]
name = "acme"

[brand.acme]

[app.acme-ng]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
"""

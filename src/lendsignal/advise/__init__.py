"""What a lender should do next, and what a platform will not have."""

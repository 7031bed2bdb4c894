"""Tables of variants at equal budget, and what they say of the claims that they were made to check."""

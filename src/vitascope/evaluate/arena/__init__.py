"""People's preferences: blind pairs on a local page, votes, ranking."""

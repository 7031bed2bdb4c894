"""VBench and its relatives: aggregation, native dimensions, official files, published leaderboard, Toyland twins."""

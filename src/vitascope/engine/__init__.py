"""Raw footage into shards to train on: decode, cut into shots, measure, filter, write; nothing is lost in silence."""

"""One image: prompts, frames, networks, weights. Knows numpy and torch; no volumes, no GUI."""

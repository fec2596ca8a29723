"""Vision–language models of open_clip: which file, which tokens, texts, distances."""

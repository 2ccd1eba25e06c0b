"""Known answers, measured again: what memcap says beside closed forms, other people's code and published numbers."""

"""The kinds of sources, one package a kind; no kind imports another."""

"""The kinds of sources, one package a kind; none knows another."""

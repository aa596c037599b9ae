"""The three services of Trelay, and the programs that run them."""

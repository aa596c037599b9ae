"""Dead letters: lists them, replays them exactly once, and drops them, on any replica."""

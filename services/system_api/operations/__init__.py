"""What operators ask of sources, what that leads to, and what all replicas know of them."""

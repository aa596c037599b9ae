"""Steps that change the values of members: `mask` and `convert`, and what they are made of."""

"""Expressions in JSONata, for predicates, mappings and channels; exact where JSONata is not.

For an event, the root of an expression is its `data`, and `$event` holds the other attributes:
`$event.type = "order.created"`. For a JSON value alone, the root is the value.
"""

"""Expressions in JSONata, for predicates, mappings and channels; exact where JSONata is not.

The root of an expression is the event's `data`; `$event` holds the other attributes: `$event.type = "order.created"`.
"""

"""The one expression language, JSONata, for predicates, mappings and channels alike; exact where JSONata is not.

An expression's root is the event's `data`; `$event` holds its other attributes, as in `$event.type = "order.created"`.
"""

"""The channels of a subscription, and how they change while it runs."""

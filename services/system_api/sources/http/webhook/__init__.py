"""Webhooks: `POST /hooks/{source}` stores what senders deliver in an inbox, and the source publishes from there."""

"""OpenAPI documents: builds them from what handlers say of themselves, and serves them."""

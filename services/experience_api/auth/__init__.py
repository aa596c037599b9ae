"""Authentication and admission: credentials, secrets, tokens, addresses and limits."""

"""The JSON Schema of AsyncAPI 3.0.0 documents, by the AsyncAPI Initiative, under the Apache License 2.0 beside it.

It is `schemas/3.0.0-without-$id.json` of version 6.11.1 of the npm package `@asyncapi/specs`, without its white space.
Source: https://github.com/asyncapi/spec-json-schemas.
"""

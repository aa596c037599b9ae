"""The kind `http`: polls an API page by page, and publishes the records that are new or have changed."""

"""Models of the API groups, generated from facts/ (see `hypernetes.api.generate`)."""

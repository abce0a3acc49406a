"""What all processes share and nothing else: names, schemas, models.

    facts/       names, types and numbers of the Kubernetes API, and of our own group (data)
    facts.py     reads them
    scheme.py    kind <-> resource <-> scope
    object.py    the base class of all models
    models/      pydantic models, one module per API group, generated from facts/ by `python -m hypernetes.api.generate`
    status.py    the Kubernetes Status as an exception
    tenancy.py   what a tenant's name, address ranges and credentials look like
    quantity.py, selectors.py, times.py   small value types

Imports nothing else of ours.
"""

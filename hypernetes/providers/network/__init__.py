"""Providers of tenants' layer-2 networks."""

"""Packages of third parties, as they would ship them: each is a wheel of its own."""

"""What names of users and groups begin with, and who gives them."""

SYSTEM_PREFIX = "system:"  # names of the cluster's own begin so
KEYSTONE = "keystone"  # the identity provider of that name
KEYSTONE_PREFIX = f"{KEYSTONE}:"  # names that it gives, and nobody else

"""The isolation suite: one tenant's administrator against another tenant, for whatever discovery offers.

    discovery ─► offered.py ─► samples.py: one object of each kind ─► worlds.py: acme, and globex full of canaries
                     └───────► attempts.py: each verb of each resource, as a request
                                  └─► attacks.py: every way to send it ─► witnesses.py: no byte may hold a canary

What a new kind needs is a sample; without one the suite fails and says so.
"""

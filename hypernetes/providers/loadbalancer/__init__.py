"""Providers of load balancers: addresses at which Services of type LoadBalancer answer from outside."""

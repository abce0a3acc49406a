"""Volumes, claims and attachments by what one object tells: what is called how, and which volume a claim may have.

Pure; shared by controllers, scheduler and agents.
"""

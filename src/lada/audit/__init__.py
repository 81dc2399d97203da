"""Audits of a run: lists what left each client, and searches it for text that must not have left."""

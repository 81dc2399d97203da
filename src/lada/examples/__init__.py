"""Configurations that are shipped with LaDa."""

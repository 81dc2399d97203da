"""Fusers: whose path a receiver learns if several parties offer one."""

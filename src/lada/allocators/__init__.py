"""Allocators: which samples a student learns from a teacher, in one direction."""

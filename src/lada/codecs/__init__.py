"""Codecs: how the parts of messages are encoded as bytes."""

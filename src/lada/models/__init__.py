"""Learners, that is a model with its tokenizer and the verbs answer, judge, embed and study."""

"""Learners: a model with its tokenizer and the verbs answer, judge, embed and study."""

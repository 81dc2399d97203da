"""Between floors 0 and 1: what two tokenizers have in common."""

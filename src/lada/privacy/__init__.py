"""Privacy: finding and removing data that must not leave a party."""

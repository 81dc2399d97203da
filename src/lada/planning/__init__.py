"""What a run will be and whether it fits, told before it starts; needs neither weights nor a network."""

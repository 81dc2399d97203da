"""The tiny models that are shipped with LaDa, and the recipe that trains them."""

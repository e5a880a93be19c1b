"""What a network sounds like while it learns."""

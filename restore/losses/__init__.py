"""What a network is asked to make small: pure functions and thin modules over them."""

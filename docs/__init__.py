"""Documents for people, and the program that writes some of them."""

"""What is drawn: objects of the demo scenes and what may damage them."""

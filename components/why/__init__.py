"""The why on the page: the card of one component in full, where texts part, attribution beside cause."""

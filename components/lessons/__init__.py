"""Five lessons on the live page that ask for a prediction first, and the room in which a class predicts together."""

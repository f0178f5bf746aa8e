"""Download the edit or push it to the Hub."""

"""The page as a whole: its view, its look, its options, how a change reaches it."""

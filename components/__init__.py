"""The page: a folder for each of its parts, built on Gradio; the method itself is in s2e_core."""

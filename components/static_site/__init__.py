"""The page of the bundled model as plain files, which any web server serves without Python."""

"""What several panels share: the session, the store of models, errors, events, texts."""

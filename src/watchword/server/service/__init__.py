"""The services of the server: one module for each action, in folders by subject."""

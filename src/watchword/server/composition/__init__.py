"""The composition root: makes every concrete object of one worker and hands each what it needs."""
